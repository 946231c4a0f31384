"""Write one self-contained page, report.html, about a run: numbers, curves, errors and pictures.

python tools/report.py output/streets
python tools/report.py output/streets --earlier output/streets2

The pictures and the confusion of classes need the predictions of the evaluation, which
TEST.SAVE_PANOPTIC True keeps.
"""

import argparse
import os
import sys
from pathlib import Path

from efficientps_d2.report.page import write_report
from efficientps_d2.utils.errors import exit_status


def run(args: argparse.Namespace) -> int:
    file = write_report(args.folder, args.earlier, args.dataset, args.pictures, args.processes)
    print(f"Wrote {file}; open it in a browser.")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="OUTPUT_DIR of the run")
    parser.add_argument("--earlier", type=Path, metavar="DIR", help="OUTPUT_DIR to compare with")
    parser.add_argument("--dataset", default="", help="default: the first of DATASETS.TEST")
    parser.add_argument(
        "--pictures", type=int, default=6, metavar="N", help="of the best, worst, random; default 6"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    args = parser.parse_args(argv)
    if args.pictures < 1 or args.processes < 1:
        parser.error("--pictures and --processes must be at least 1")
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
