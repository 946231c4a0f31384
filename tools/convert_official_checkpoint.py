"""Convert a checkpoint of the authors' EfficientPS code for this project, or back with --reverse.

python tools/convert_official_checkpoint.py efficientps_cityscapes.pth converted.pth
python train_net.py --config-file configs/efficientps_cityscapes_official.yaml --eval-only \
    MODEL.WEIGHTS converted.pth
"""

import argparse
import re
import sys
import warnings
from collections import Counter
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import torch  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from tabulate import tabulate  # noqa: E402
from torch import nn  # noqa: E402

from efficientps_d2 import InputError  # noqa: E402
from efficientps_d2.checkpoint.official import (  # noqa: E402
    Change,
    from_official,
    official_name,
    to_official,
)
from efficientps_d2.config.loading import load_config, without_cuda  # noqa: E402
from efficientps_d2.modeling.backbone.efficientnet import is_paper_efficientnet  # noqa: E402
from efficientps_d2.modeling.backbone.pretrained import read_checkpoint  # noqa: E402

CONFIG = Path(__file__).parent.parent / "configs" / "efficientps_cityscapes_official.yaml"
# Their rows tell the number of all classes, and of things and background.
CLASSIFIERS = ("sem_seg_head.predictor.weight", "roi_heads.box_predictor.cls_score.weight")


def build_matching_model(config_file: str, state: dict, reverse: bool) -> nn.Module:
    """The config's model, with as many classes as the checkpoint has."""
    cfg = without_cuda(load_config(config_file, ["MODEL.EFFICIENTNET.WEIGHTS", ""]))
    if not is_paper_efficientnet(cfg.MODEL.EFFICIENTNET.NAME):
        raise InputError(
            f"{config_file} does not describe the authors' network; give a config with one of "
            "tf_efficientnet_b0 to b7 as MODEL.EFFICIENTNET.NAME."
        )
    names = CLASSIFIERS if reverse else [official_name(name) for name in CLASSIFIERS]
    for name in names:
        if name not in state:
            expected = "this project" if reverse else "the authors' code"
            raise InputError(
                f"{name} is missing, so this is no checkpoint of {expected}; --reverse is for "
                "checkpoints of this project, and only for them."
            )
    classes, things = (state[name].shape[:1].numel() for name in names)
    things -= 1  # without background
    if not 0 < things < classes:
        raise InputError(
            f"{names[0]} has {classes} rows and {names[1]} {things + 1}, which is no number of all "
            "classes and of things with background."
        )
    print(f"{classes} classes, {things} of them things.")
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES = classes, things
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = list(range(classes - things, classes))
    return build_model(cfg)


def print_report(changes: list[Change], reverse: bool) -> None:
    """One line for modules whose names differ in numbers only and that changed alike."""

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


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--reverse", action="store_true", help="from here to the authors' code")
    parser.add_argument(
        "--config-file", default=str(CONFIG), help="config that the weights are for"
    )
    args = parser.parse_args(argv)
    try:
        state, other = read_checkpoint(args.input)
        model = build_matching_model(args.config_file, state, args.reverse)
        convert = to_official if args.reverse else from_official
        converted, changes = convert(state, model)
    except InputError as error:
        sys.exit(f"Error: nothing was converted: {error}")
    print_report(changes, args.reverse)
    if other:
        print(f"Dropped besides the tensors: {', '.join(other)}.")
    content = {"meta": {}, "state_dict": converted} if args.reverse else {"model": converted}
    save(content, args.output)
    print(f"Wrote {args.output}.")


def save(content: dict, path: Path) -> None:
    """Write the whole file or none."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        sys.exit(f"Error: {path} cannot be written ({error}); give another OUTPUT.")
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
