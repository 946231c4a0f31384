"""Prepare a published dataset, as it is downloaded, for training and evaluation.

efficientps-d2 prepare kitti data_semantics
efficientps-d2 prepare vistas /data/mapillary_vistas /fast/vistas --longest-edge 2304
efficientps-d2 prepare semantic_kitti /data/kitti_odometry --train

SOURCE is the folder that the archives were unpacked to; docs/DATASETS.md has the commands for each
dataset. DEST gets panoptic PNGs and JSON; images that keep their size are linked, not copied. The
same command goes on where it was stopped.
"""

import argparse
import difflib
import os
import shlex
import sys
from pathlib import Path

from efficientps_d2_cli.options import add_overrides, add_processes, path, require_folder, side

# PUBLISHED, as a test compares
NAMES = (
    "kitti",
    "vistas",
    "vistas_v2",
    "idd",
    "scannet",
    "scannet_depth",
    "pastis",
    "semantic_kitti",
)


def dataset(text: str) -> str:
    """A name, or a mistake that is not close to one."""
    close = difflib.get_close_matches(text.lower(), NAMES, 1)
    if close and text not in NAMES:
        raise argparse.ArgumentTypeError(f"there is no dataset {text}; did you mean {close[0]}?")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", type=dataset, choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("source", type=path, metavar="SOURCE", help="folder of the publisher")
    parser.add_argument(
        "dest",
        type=path,
        nargs="?",
        metavar="DEST",
        help="new folder; default: where configs look, DETECTRON2_DATASETS/NAME",
    )
    add_processes(parser)
    parser.add_argument(
        "--longest-edge",
        type=side,
        metavar="PIXELS",
        help="make larger training images so small, which makes reading them faster",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin again, and remove what DEST has"
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help="then train, or go on training, by the config of the dataset and --opts",
    )
    add_overrides(parser)


def before(args: argparse.Namespace) -> None:
    """Mistakes of flags."""
    if args.opts and not args.train:
        args.parser.error("--opts are those of --train; add it")
    require_folder("SOURCE", args.source)


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.data.datasets.names import open_published
    from efficientps_d2.data.datasets.prepare import prepare
    from efficientps_d2.data.datasets.register import datasets_root
    from efficientps_d2_runtime.errors import Stopped

    dest = (args.dest or Path(datasets_root()) / args.name).absolute()
    data = open_published(args.name, args.source)
    counts = ", ".join(f"{len(frames)} {split}" for split, frames in data.splits.items())
    print(f"{args.source} is {data.title}: {counts}.")
    there = sum(1 for _ in dest.glob("*/panoptic/*.png"))
    if there and not args.overwrite:
        print(f"{there} of {sum(map(len, data.splits.values()))} images are there already.")
    try:
        annotations = prepare(
            args.name,
            data,
            args.source,
            dest,
            processes=args.processes,
            longest_edge=args.longest_edge,
            overwrite=args.overwrite,
        )
    except KeyboardInterrupt as error:
        raise Stopped(f"{dest} is not complete; the same command goes on there.") from error
    _print_result(data, annotations)
    for note in data.notes:
        print(f"Note: {note}.")
    if args.train:
        return _train(args.name, dest, data, args.opts)
    _print_next_commands(args.name, dest, data)
    return 0


def _train(name: str, dest: Path, data, overrides: list[str]) -> int:
    from efficientps_d2_cli.main import main

    os.environ["DETECTRON2_DATASETS"] = str(dest.parent)
    names = {"TRAIN": _registered(dest, data.train), "TEST": _registered(dest, data.test)}
    keys = [word for key, value in names.items() for word in (f"DATASETS.{key}", value)]
    words = ["train", "--config-file", f"efficientps_{name}", "--resume", *keys, *overrides]
    sys.argv[1:] = words  # of which the training says how it goes on
    return main(words)


def _registered(dest: Path, splits: tuple[str, ...]) -> str:
    """The names of splits, as a config takes them."""
    return "(" + "".join(f"'{dest.name}_{split}'," for split in splits) + ")"


def _print_result(data, annotations: dict[str, list[dict]]) -> None:
    from tabulate import tabulate

    things = {category["id"] for category in data.categories if category["isthing"]}
    rows = []
    for split, entries in annotations.items():
        segments = [segment for entry in entries for segment in entry["segments_info"]]
        crowds = sum(segment["iscrowd"] for segment in segments)
        objects = sum(segment["category_id"] in things for segment in segments) - crowds
        rows.append([split, len(entries), objects, crowds, len(segments) - objects - crowds])
    print()
    print(tabulate(rows, ["split", "images", "objects", "groups", "stuff segments"]))


def _print_next_commands(name: str, dest: Path, data) -> None:
    from efficientps_d2.utils.shell import quoted
    from efficientps_d2_cli.options import where_datasets_are

    train, test = (quoted(_registered(dest, splits)) for splits in (data.train, data.test))
    names = "" if dest.name == name else f" \\\n    DATASETS.TRAIN {train} DATASETS.TEST {test}"
    print(f"\nWrote {dest}. Look at it, then train:\n")
    print(f"efficientps-d2 check {shlex.quote(str(dest / data.test[0]))} --draw 8")
    config = f"--config-file configs/efficientps_{name}.yaml"
    print(f"{where_datasets_are(dest)}efficientps-d2 train {config}{names}")
