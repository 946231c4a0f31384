"""Check a panoptic dataset: every problem, statistics, a repaired copy, settings that suit it.

efficientps-d2 check nuclei_train --suggest
efficientps-d2 check /data/berries/train --fix /data/berries_fixed/train --draw 8

Takes a registered name (cityscapes_fine_panoptic_val, streets_train, NAME_SPLIT of a folder in
DETECTRON2_DATASETS), or a folder with images/, panoptic/ and panoptic.json. Exit status: 0 if
training and evaluation would work, 1 if the data has errors, 2 for wrong usage.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from efficientps_d2_cli.options import add_overrides, add_processes, natural, path

FIRST_PROBLEMS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="NAME_OR_FOLDER")
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        help="whose resize, anchors and bands are compared; default: that of the dataset that "
        "`prepare` made, otherwise efficientps_custom",
    )
    add_processes(parser)
    parser.add_argument(
        "--fix", type=path, metavar="DEST", help="write a repaired copy to this new folder"
    )
    parser.add_argument(
        "--stored-pixels",
        action="store_true",
        help="the ground truth was drawn without the EXIF orientation of the images",
    )
    parser.add_argument(
        "--draw", type=natural, default=0, metavar="N", help="draw N images into output/check/"
    )
    parser.add_argument("--suggest", action="store_true", help="print fitting config overrides")
    parser.add_argument("--all", action="store_true", help="print all problems, however many")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.config.loading import load_config
    from efficientps_d2.data.checks.dataset import check_dataset
    from efficientps_d2.data.checks.listing import find_dataset, read_listing, usual_config
    from efficientps_d2.data.checks.repair import require_new_folder

    with _status_2():
        file = args.config_file
        location = find_dataset(args.dataset)
        args.config_file = file or usual_config(location)
        cfg = load_config(args.config_file, args.opts, only_read=True)
        if args.fix:
            require_new_folder(args.fix, location)
    listing = read_listing(location, args.stored_pixels)
    result = check_dataset(listing, args.processes, cfg.INPUT.FORMAT)
    errors = _print_report(args, listing, result, cfg)
    with _status_2():
        _write(args, listing, result, cfg)
    return 1 if errors else 0


@contextlib.contextmanager
def _status_2() -> Iterator[None]:
    """What fails here are the arguments, not the dataset."""
    from efficientps_d2_runtime.errors import InputError, sentence_of

    try:
        yield
    except (InputError, OSError) as error:
        shown = error if isinstance(error, InputError) else InputError(sentence_of(error))
        shown.status = 2
        raise shown from error


def _print_report(args: argparse.Namespace, listing, result, cfg) -> int:
    """Print everything that was found; returns the number of errors."""
    from efficientps_d2.data.checks.problems import KINDS
    from efficientps_d2.data.checks.suggest import suggest_classes, suggest_config
    from efficientps_d2.data.checks.tables import (
        problem_list,
        segments_of_classes,
        size_tables,
        suggestion_text,
    )
    from efficientps_d2.engine.auto_values import use_suggestions

    statistics = result.statistics
    suggestions = suggest_config(statistics)
    config = f"{Path(args.config_file).stem}.yaml"
    if use_suggestions(cfg, suggestions):
        config += ', with "auto" values for these images (training takes those of DATASETS.TRAIN)'
    segments = sum(count for _, count, _ in statistics.classes.values())
    print(f"{listing.location.name}: {len(statistics.images)} images, {segments} segments\n")
    print(segments_of_classes(listing, statistics), end="\n\n")
    print(size_tables(statistics, cfg, config), end="\n\n")
    if result.problems:
        print(problem_list(result.problems, _limit(args)), end="\n\n")
    errors = sum(KINDS[problem.kind].is_error for problem in result.problems)
    print(f"Errors: {errors}, warnings: {len(result.problems) - errors}.")
    if args.suggest:
        suggestions += suggest_classes(listing.categories)
        print(f"\n{suggestion_text(suggestions)}")
    return errors


def _write(args: argparse.Namespace, listing, result, cfg) -> None:
    """The repaired copy and the drawings that were asked for."""
    from efficientps_d2.data.bands import shown_bands
    from efficientps_d2.data.checks.drawing import draw_images
    from efficientps_d2.data.checks.repair import write_repaired
    from efficientps_d2.data.checks.tables import problem_list

    if args.fix:
        repairs = write_repaired(listing, result, args.fix, args.processes)
        print(f"\nWrote {args.fix}: {repairs.images} images, {repairs.repaired} of them repaired.")
        for title, problems in (("Left out", repairs.left_out), ("Not repaired", repairs.by_hand)):
            if problems:
                print(f"{title} because of:\n{problem_list(problems, _limit(args))}")
    if args.draw:
        folder = os.path.join("output", "check", listing.location.name)
        count = draw_images(listing, result, args.draw, folder, shown_bands(cfg.INPUT))
        print(f"\nDrew {count} of the images into {folder}.")


def _limit(args: argparse.Namespace) -> int | None:
    return None if args.all else FIRST_PROBLEMS
