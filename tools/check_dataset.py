"""Check a panoptic data set: every problem, statistics, a repaired copy, settings that suit it.

python tools/check_dataset.py nuclei_train --suggest
python tools/check_dataset.py /data/berries/train --fix /data/berries_fixed/train --draw 8

Takes a registered name (cityscapes_fine_panoptic_val, streets_train, NAME_SPLIT of a folder in
DETECTRON2_DATASETS), or a folder with images/, panoptic/ and panoptic.json. Exit status: 0 if
training and evaluation would work, 1 if the data have errors, 2 for wrong usage.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

from detectron2.config import CfgNode  # noqa: E402

from efficientps_d2 import InputError  # noqa: E402
from efficientps_d2.config.loading import load_config  # noqa: E402
from efficientps_d2.data.checks.dataset import CheckResult, check_dataset  # noqa: E402
from efficientps_d2.data.checks.listing import Source, find_dataset, read_source  # noqa: E402
from efficientps_d2.data.checks.problems import KINDS  # noqa: E402
from efficientps_d2.data.checks.repair import require_new_folder, write_repaired  # noqa: E402
from efficientps_d2.data.checks.suggest import suggest_classes, suggest_config  # noqa: E402
from efficientps_d2.data.checks.tables import (  # noqa: E402
    class_table,
    draw_pictures,
    problem_list,
    size_tables,
    suggestion_text,
)
from efficientps_d2.engine.auto_values import use_suggestions  # noqa: E402

CUSTOM_CONFIG = Path(__file__).parent.parent / "configs" / "efficientps_custom.yaml"
FIRST_PROBLEMS = 20


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", metavar="NAME_OR_FOLDER")
    parser.add_argument(
        "--config-file", default=str(CUSTOM_CONFIG), help="whose resize and anchors are compared"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument(
        "--fix", type=Path, metavar="DEST", help="write a repaired copy to this new folder"
    )
    parser.add_argument(
        "--draw", type=int, default=0, metavar="N", help="draw N pictures into output/check/"
    )
    parser.add_argument("--suggest", action="store_true", help="print fitting config overrides")
    parser.add_argument("--all", action="store_true", help="print all problems, however many")
    args = parser.parse_args(argv)
    if args.processes < 1 or args.draw < 0:
        parser.error("--processes must be at least 1 and --draw at least 0")
    return args


def print_report(
    args: argparse.Namespace, source: Source, result: CheckResult, cfg: CfgNode, config: str
) -> int:
    """Print everything that was found; returns the number of errors."""
    statistics = result.statistics
    segments = sum(count for _, count, _ in statistics.classes.values())
    print(f"{source.location.name}: {len(statistics.pictures)} images, {segments} segments\n")
    print(class_table(source, statistics), end="\n\n")
    print(size_tables(statistics, cfg, config), end="\n\n")
    if result.problems:
        limit = None if args.all else FIRST_PROBLEMS
        print(problem_list(result.problems, limit), end="\n\n")
    errors = sum(KINDS[problem.kind].is_error for problem in result.problems)
    print(f"{errors} error(s), {len(result.problems) - errors} warning(s)")
    return errors


def fix(args: argparse.Namespace, source: Source, result: CheckResult) -> None:
    repairs = write_repaired(source, result, args.fix, args.processes)
    print(f"\nWrote {args.fix}: {repairs.pictures} pictures, {repairs.repaired} of them repaired.")
    limit = None if args.all else FIRST_PROBLEMS
    for title, problems in (("Left out", repairs.left_out), ("Not repaired", repairs.by_hand)):
        if problems:
            print(f"{title} because of:\n{problem_list(problems, limit)}")


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    status = 2
    try:
        cfg = load_config(args.config_file)
        location = find_dataset(args.dataset)
        if args.fix is not None:
            require_new_folder(args.fix, location)
        status = 1  # from here on, what fails is the data set
        source = read_source(location)
        result = check_dataset(source, args.processes)
        suggestions = suggest_config(result.statistics)
        config = Path(args.config_file).name
        if use_suggestions(cfg, suggestions):
            config += ', whose "auto" values are chosen from these pictures'
        errors = print_report(args, source, result, cfg, config)
        if args.suggest:
            suggestions += suggest_classes(source.categories)
            print(f"\n{suggestion_text(suggestions)}")
        status = 2
        if args.fix is not None:
            fix(args, source, result)
        if args.draw:
            folder = os.path.join("output", "check", location.name)
            count = draw_pictures(source, result, args.draw, folder)
            print(f"\nDrew {count} picture(s) into {folder}.")
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return status
    except OSError as error:
        print(f"Error: {error}; check rights, paths and free space.", file=sys.stderr)
        return status
    except KeyboardInterrupt:
        print("Stopped; nothing half-written is left.", file=sys.stderr)
        return 130
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
