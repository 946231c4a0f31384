"""Flags and types of flags that several verbs have."""

import argparse
import os


def positive(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def natural(text: str) -> int:
    """A whole number from 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return number


positive.__name__ = natural.__name__ = "number"  # argparse names it when the text is no number


def add_processes(parser: argparse.ArgumentParser) -> None:
    """``--processes N``, by default one for each core."""
    parser.add_argument(
        "--processes", type=positive, default=os.cpu_count(), metavar="N", help="default: all cores"
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """``--opts KEY VALUE ...``, which must be the last flag."""
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config overrides, after all other flags",
    )
