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
from efficientps_d2.config import load_config, without_cuda  # noqa: E402
from efficientps_d2.efficientnet import is_paper_efficientnet  # noqa: E402
from efficientps_d2.official_checkpoint import (  # noqa: E402
    Change,
    from_official,
    official_name,
    to_official,
)
from efficientps_d2.pretrained import read_checkpoint  # noqa: E402

CONFIG = Path(__file__).parent.parent / "configs" / "efficientps_cityscapes_official.yaml"
# Their rows tell the number of all classes, and of things and background.
CLASSIFIERS = ("sem_seg_head.predictor.weight", "roi_heads.box_predictor.cls_score.weight")


def build_matching_model(config_file: str, state: dict, reverse: bool) -> nn.Module:
    """The config's model, with as many classes as the checkpoint has."""
    backbone = load_config(config_file).MODEL.EFFICIENTNET
    if not (is_paper_efficientnet(backbone.NAME) and backbone.ACTIVATE_STAGE0_PROJECTION):
        raise InputError(
            f"{config_file} does not describe the authors' network: give one with B0 to B7 in "
            "MODEL.EFFICIENTNET.NAME and ACTIVATE_STAGE0_PROJECTION True."
        )
    names = CLASSIFIERS if reverse else [official_name(name) for name in CLASSIFIERS]
    for name in names:
        if name not in state:
            raise InputError(f"{name} is missing: this is no checkpoint of that EfficientPS.")
    classes, detector_classes = (len(state[name]) for name in names)
    things = detector_classes - 1
    overrides = ["MODEL.EFFICIENTNET.WEIGHTS", ""]
    overrides += ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", classes, "MODEL.ROI_HEADS.NUM_CLASSES", things]
    overrides += ["MODEL.EFFICIENTPS.THING_CLASS_IDS", list(range(classes - things, classes))]
    return build_model(without_cuda(load_config(config_file, overrides)))


def print_report(changes: list[Change], reverse: bool) -> None:
    """One line for modules whose names differ in numbers only and that changed alike."""

    def module(name: str) -> str:
        return re.sub(r"\.\d+", ".*", name).rpartition(".")[0]

    groups = Counter((module(c.official_name), module(c.name), c.how) for c in changes)
    rows = [[there, here, count, how or "as it is"] for (there, here, how), count in groups.items()]
    print(tabulate(rows, ["authors' code", "here", "tensors", "change"]))
    changed = sum(bool(c.how) for c in changes)
    print(f"\n{len(changes)} tensors: {len(changes) - changed} as they are, {changed} changed.")
    if reverse:
        print(
            "Not exactly as in an original checkpoint: weights of norms lost their signs and at "
            "most the last bit, background rows are zeros."
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
        sys.exit(f"Error: {args.input} was not converted: {error}")
    print_report(changes, args.reverse)
    if other:
        print(f"Dropped besides the tensors: {', '.join(other)}.")
    content = {"meta": {}, "state_dict": converted} if args.reverse else {"model": converted}
    partial = args.output.with_name(f"{args.output.name}.partial")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, partial)
    partial.replace(args.output)
    print(f"Wrote {args.output}.")


if __name__ == "__main__":
    main()
