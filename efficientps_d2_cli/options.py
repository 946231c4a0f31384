"""Flags and types of flags that several verbs have."""

import argparse
import os
import shlex
from pathlib import Path

PRECISIONS = ("float32", "float16", "bfloat16")  # of Predictor, which a test compares


def whole(text: str, low: int, high: int) -> int:
    """A whole number between two limits, both included."""
    number = int(text)
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
    return number


def positive(text: str) -> int:
    """A whole number from 1, of images, processes and such."""
    return whole(text, 1, 10**6)


def natural(text: str) -> int:
    """A whole number from 0, such as a seed."""
    return whole(text, 0, 2**32 - 1)


def side(text: str) -> int:
    """Pixels of a side of an image."""
    return whole(text, 1, 100_000)


def path(text: str) -> Path:
    """A path; an empty one would be the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)


for kind in (positive, natural, side):
    kind.__name__ = "number"  # argparse names it when the text is no number


def add_processes(parser: argparse.ArgumentParser) -> None:
    """``--processes N``, by default one for each core."""
    parser.add_argument(
        "--processes", type=positive, default=os.cpu_count(), metavar="N", help="default: all cores"
    )


def add_network_flags(parser: argparse.ArgumentParser) -> None:
    """How a network predicts."""
    parser.add_argument(
        "--confidence-threshold",
        type=float,
        help="of instances; default: that of the model's fusion",
    )
    parser.add_argument(
        "--tile",
        type=positive,
        default=0,
        metavar="SIZE",
        help="predict large images in tiles of this many pixels, in little memory",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the network; others than float32 only on CUDA",
    )


def require_pyarrow() -> None:
    """Raise InputError if it cannot be loaded, before a module needs it."""
    import efficientps_d2_runtime.batch  # noqa: F401


def require_threshold(args: argparse.Namespace) -> None:
    """End with wrong usage for a threshold that no score has."""
    if not 0 <= (args.confidence_threshold or 0) <= 1:
        args.parser.error("--confidence-threshold must be from 0 to 1")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """``--opts KEY VALUE ...``, which must be the last flag."""
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config overrides, after all other flags",
    )


def require_folder(what: str, folder: Path) -> None:
    """Raise InputError unless a folder is there, before PyTorch is loaded."""
    from efficientps_d2_runtime.errors import InputError

    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise InputError(f"{what} {folder} {problem}; give that of the unpacked archives.")


def where_datasets_are(dest: Path) -> str:
    """What stands before a command that trains on ``dest``, if that is not where datasets are."""
    from efficientps_d2.data.datasets.register import datasets_root

    if dest.parent.resolve() == Path(datasets_root()).resolve():
        return ""
    return f"DETECTRON2_DATASETS={shlex.quote(str(dest.parent))} "
