"""Import the annotations of labelme, CVAT or Datumaro as a dataset for training.

efficientps-d2 import labelme SOURCE datasets/mine --things car,person --stuff road,sky

SOURCE is the unpacked folder of annotations and images: labelme's JSON files, or what CVAT exports
as "CVAT for images 1.1" (cvat), "Datumaro 1.0" (datumaro), "Segmentation mask 1.1" (voc-mask) or
"Cityscapes 1.0" (cityscapes, as the dataset itself). What has a label in neither list becomes void.
"""

import argparse
import shlex
import sys
import warnings
from pathlib import Path

from efficientps_d2_cli.options import natural, path, where_datasets_are

TOOLS = ("labelme", "cvat", "datumaro", "voc-mask", "cityscapes")  # READERS, as a test compares
SHOWN_PLACES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tool", choices=TOOLS, help="what the annotations come from")
    parser.add_argument("source", type=path, help="folder of annotations and images")
    parser.add_argument("dest", type=path, help="new folder; its last name is the dataset's")
    commas = """labels of objects, with commas between: 'car,"bus, big"' are two"""
    parser.add_argument("--things", required=True, help=commas)
    parser.add_argument("--stuff", required=True, help="labels of other regions")
    parser.add_argument(
        "--split",
        type=float,
        default=0.8,
        help="part of the images to train on, 0 to 1; default 0.8",
    )
    parser.add_argument("--seed", type=natural, default=0, help="seed of the choice of these")
    parser.add_argument(
        "--bands",
        type=path,
        metavar="DIR",
        help="in place of each annotated image take the .npy array or TIFF of its folder and name "
        "in DIR, or the only one of its name, of any number of bands",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a dataset at DEST")


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.data.checks.problems import shown
    from efficientps_d2.data.faults import LONG
    from efficientps_d2.data.importers import READERS
    from efficientps_d2.data.importers.bands import BandFolder
    from efficientps_d2.data.importers.painting import Classes, read_labels
    from efficientps_d2.data.importers.run import import_annotations
    from efficientps_d2_runtime.errors import InputError

    warnings.filterwarnings("ignore", module="PIL")  # odd files; what is damaged becomes an error
    try:
        classes = Classes(read_labels(args.things), read_labels(args.stuff))
        summary = import_annotations(
            READERS[args.tool],
            args.source,
            args.dest,
            classes,
            split=args.split,
            seed=args.seed,
            overwrite=args.overwrite,
            bands=args.bands and BandFolder(args.bands),
        )
    except InputError as error:
        lines = str(error).split("\n")  # several faults have a line each
        raise InputError("\n".join(shown(line, LONG) for line in lines)) from error
    except KeyboardInterrupt:
        summary = None
    if summary is None:
        print(f"Stopped; {args.dest} is as it was.", file=sys.stderr)
        return 130
    _print_summary(summary, classes)
    _print_next_commands(args.dest, list(summary.images), "bands" if args.bands else "custom")
    return 0


def _print_summary(summary, classes) -> None:
    from tabulate import tabulate

    from efficientps_d2.data.checks.problems import shown
    from efficientps_d2.data.faults import LONG

    splits = list(summary.images)
    rows = [["images", "", *summary.images.values()]]
    for name in classes.names:
        kind = "thing" if name in classes.things else "stuff"
        rows.append([shown(name), kind, *(summary.segments[split, name] for split in splits)])
    print(tabulate(rows, ["segments of", "kind", *splits]))
    if unlisted := summary.unlisted(classes).most_common():
        labels = ", ".join(f"{shown(label)} ({count})" for label, count in unlisted)
        print(f"\nLeft void: shapes whose labels --things and --stuff do not list: {labels}.")
    if summary.warnings:
        print()
    for message, places in summary.warnings.items():
        first = [shown(place) for place in dict.fromkeys(places)]
        more = ", ..." if len(first) > SHOWN_PLACES else ""
        listed = ", ".join(first[:SHOWN_PLACES])
        print(f"Warning: {shown(message, LONG)}: {len(places)} ({listed}{more}).")


def _print_next_commands(dest: Path, splits: list[str], config: str) -> None:
    """What to run now; without a val split, the training images serve both."""
    from efficientps_d2.utils.shell import quoted

    train, test = (quoted(f"('{dest.name}_{s}',)") for s in (splits[0], splits[-1]))
    print(f"\nWrote {dest}. Look at it, then train:\n")
    file = f"--config-file configs/efficientps_{config}.yaml"
    of_bands = f" {file} --draw 3" if config == "bands" else ""
    print(f"efficientps-d2 check {shlex.quote(str(dest / 'train'))}{of_bands}")
    command = f"efficientps-d2 train {file}"
    print(f"{where_datasets_are(dest)}{command} \\")
    output = shlex.quote(f"output/{dest.name}")
    print(f"    DATASETS.TRAIN {train} DATASETS.TEST {test} OUTPUT_DIR {output}")
