"""Convert a checkpoint of the authors' EfficientPS code for this project, or back with --reverse.

efficientps-d2 convert efficientps_cityscapes.pth converted.pth
efficientps-d2 evaluate --config-file configs/efficientps_cityscapes_official.yaml \\
    MODEL.WEIGHTS converted.pth
"""

import argparse
import re
from collections import Counter

from efficientps_d2_cli.options import path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=path, help="the checkpoint")
    parser.add_argument("output", type=path, help="NAME.pth or, of this project, NAME.safetensors")
    parser.add_argument("--reverse", action="store_true", help="from here to the authors' code")
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        help="that the weights are for; default: efficientps_cityscapes_official",
    )


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.config.loading import get_config, load_config
    from efficientps_d2.deploy.convert import convert_checkpoint

    cfg = (
        load_config(args.config_file)
        if args.config_file
        else get_config("efficientps_cityscapes_official")
    )
    done = convert_checkpoint(args.input, args.output, cfg, args.reverse)
    print(f"{done.num_classes} classes, {done.num_things} of them things.")
    _print_changes(done.changes, args.reverse)
    if done.dropped:
        print(f"Dropped besides the tensors: {', '.join(done.dropped)}.")
    print(f"Wrote {args.output}.")
    return 0


def _print_changes(changes, reverse: bool) -> None:
    """One line for modules whose names differ in numbers only and that changed alike."""
    from tabulate import tabulate

    def module(name: str) -> str:
        return re.sub(r"(\.|fcn)\d+", r"\1*", name).rpartition(".")[0]

    groups = Counter((module(c.official_name), module(c.name), c.how) for c in changes)
    rows = [[there, here, count, how or "as it is"] for (there, here, how), count in groups.items()]
    print(tabulate(rows, ["authors' code", "here", "tensors", "change"]))
    changed = sum(bool(c.how) for c in changes)
    print(f"\n{len(changes)} tensors: {len(changes) - changed} as they are, {changed} changed.")
    if reverse:
        print(
            "Not exactly as in a checkpoint of the authors: weights of norms have no sign and are "
            "rounded as |weight| + eps was, background rows are zeros."
        )
