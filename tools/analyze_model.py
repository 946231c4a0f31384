"""Print parameters and multiply-adds of a panoptic model, part by part.

python tools/analyze_model.py --config-file configs/efficientps_cityscapes.yaml --size 1024 2048

Also takes the configs of Panoptic FPN in Detectron2. Multiply-adds are those of convolutions and
linear layers for one picture, counted by fvcore, in inference, with as many boxes as the config
lets through: RPN.POST_NMS_TOPK_TEST in the box head and TEST.DETECTIONS_PER_IMAGE in the mask head.
Class counts come from the data sets; for data that are not here, name others after the flags:
DATASETS.TRAIN "('streets_train',)" DATASETS.TEST "('streets_val',)"
"""

import argparse
import sys
import warnings

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import torch  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from detectron2.utils.analysis import FlopCountAnalysis  # noqa: E402
from tabulate import tabulate  # noqa: E402
from torch import nn  # noqa: E402

from efficientps_d2 import InputError  # noqa: E402
from efficientps_d2.config.loading import load_config, without_cuda  # noqa: E402
from efficientps_d2.data.classes import with_class_counts  # noqa: E402

MULTIPLY_ADD = (
    "conv",
    "linear",
    "addmm",
    "matmul",
)  # fvcore's names; norms and resizing are left out


def count(module: nn.Module, *inputs) -> tuple[int, int]:
    """Parameters and multiply-adds of a module with these inputs."""
    analysis = FlopCountAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    adds = sum(analysis.by_operator()[operator] for operator in MULTIPLY_ADD)
    return sum(p.numel() for p in module.parameters()), adds


@torch.no_grad()
def analyze(model: nn.Module, cfg, height: int, width: int) -> list[tuple[str, int, int]]:
    """Name, parameters and multiply-adds of each part of a panoptic model for one picture."""
    divisor = max(model.backbone.size_divisibility, 1)
    image = torch.zeros(1, 3, -height % divisor + height, -width % divisor + width)
    features = model.backbone(image)
    heads, rpn = model.roi_heads, model.proposal_generator
    boxes, masks = cfg.MODEL.RPN.POST_NMS_TOPK_TEST, cfg.TEST.DETECTIONS_PER_IMAGE
    channels = features[heads.box_in_features[0]].shape[1]
    box_size, mask_size = heads.box_pooler.output_size, heads.mask_pooler.output_size

    body = count(model.backbone.bottom_up, image)
    whole = count(model.backbone, image)
    box_network = nn.Sequential(heads.box_head, heads.box_predictor)
    mask_network = nn.Sequential(*heads.mask_head.children())
    return [
        ("backbone", *body),
        ("FPN", whole[0] - body[0], whole[1] - body[1]),
        ("semantic head", *count(model.sem_seg_head, features, None)),
        ("RPN", *count(rpn.rpn_head, [features[f] for f in rpn.in_features])),
        (f"box head, {boxes} boxes", *count(box_network, torch.zeros(boxes, channels, *box_size))),
        (
            f"mask head, {masks} boxes",
            *count(mask_network, torch.zeros(masks, channels, *mask_size)),
        ),
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(1024, 2048), metavar=("HEIGHT", "WIDTH")
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config overrides: KEY VALUE ...")
    args = parser.parse_args(argv)
    if min(args.size) < 1:
        parser.error("--size takes a height and a width of at least 1")
    try:
        cfg = without_cuda(load_config(args.config_file, args.opts))
        cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
        if -1 in (cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES):
            cfg = with_class_counts(cfg)
        model = build_model(cfg).eval()
    except InputError as error:
        sys.exit(f"Error: {error}")
    parts = analyze(model, cfg, *args.size)
    parts.append(("total", *(sum(part[i] for part in parts) for i in (1, 2))))
    rows = [(name, f"{parameters:,}", f"{adds / 1e9:.2f}") for name, parameters, adds in parts]
    height, width = args.size
    header = ["", "parameters", f"multiply-adds at {height} x {width} / 1e9"]
    print(tabulate(rows, header, colalign=("left", "right", "right"), disable_numparse=True))
    print(f"\ntotal parameters: {sum(p.numel() for p in model.parameters())}")


if __name__ == "__main__":
    main()
