"""Write a page about a run: numbers, curves, errors and images.

efficientps-d2 report output/streets
efficientps-d2 report output/streets --earlier output/streets2

report.html in the run's folder holds all that it needs. The images and the confusion of classes
need the predictions of the evaluation, which TEST.SAVE_PANOPTIC True keeps.
"""

import argparse

from efficientps_d2_cli.options import add_processes, path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=path, help="OUTPUT_DIR of the run")
    parser.add_argument("--earlier", type=path, metavar="DIR", help="OUTPUT_DIR to compare with")
    parser.add_argument("--dataset", default="", help="default: the first of DATASETS.TEST")
    parser.add_argument(
        "--output", type=path, metavar="FILE", help="default: report.html in the run's folder"
    )
    parser.add_argument(
        "--images",
        "--pictures",  # its earlier name
        type=positive,
        default=6,
        metavar="N",
        help="of the best, worst, random; default 6",
    )
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.report.page import write_report

    file = write_report(
        args.folder, args.earlier, args.dataset, args.images, args.processes, args.output
    )
    print(f"Wrote {file}; open it in a browser.")
    return 0
