"""Write a page about a run: numbers, curves, errors and images.

efficientps-d2 report output/streets
efficientps-d2 report output/streets --earlier output/streets2

efficientps-d2 report results/

The last is a page about the results of predict-batch, also of an address such as s3://....

report.html in the run's folder holds all that it needs. The images and the confusion of classes
need the predictions of the evaluation, which TEST.SAVE_PANOPTIC True keeps.
"""

import argparse
from pathlib import Path

from efficientps_d2_cli.options import add_processes, path, positive, require_pyarrow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="OUTPUT_DIR of the run, or the --output of predict-batch")
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


def before(args: argparse.Namespace) -> None:
    """Mistakes of flags."""
    if not args.folder:
        args.parser.error("the folder must not be empty")
    args.is_batch = "://" in args.folder or Path(args.folder, "batch.json").is_file()
    if args.is_batch:
        given = {"--earlier": args.earlier, "--dataset": args.dataset}
        if flags := [flag for flag, value in given.items() if value]:
            args.parser.error(f"{flags[0]} is for runs, and {args.folder} is a batch")
        require_pyarrow()


def run(args: argparse.Namespace) -> int:
    if args.is_batch:
        from efficientps_d2.report.batch import write_batch_report
        from efficientps_d2_runtime.batch.output import Output

        file = write_batch_report(Output(args.folder), args.images, args.output)
    else:
        from efficientps_d2.report.page import write_report

        more = args.earlier, args.dataset, args.images, args.processes, args.output
        file = write_report(Path(args.folder), *more)
    print(f"Wrote {file}; open it in a browser.")
    return 0
