"""Parameters and multiply-adds of a panoptic network, part by part."""

from collections import Counter

import torch
from detectron2.config import CfgNode
from detectron2.utils.analysis import FlopCountAnalysis
from fvcore.nn.jit_handles import conv_flop_count, get_shape
from tabulate import tabulate
from torch import nn

from efficientps_d2.config.building import build_network, check_network
from efficientps_d2.data.classes import with_class_counts

MULTIPLY_ADD = ("conv", "linear", "addmm", "matmul")  # fvcore's names; no norms, no resizing


def size_table(cfg: CfgNode, height: int, width: int) -> str:
    """The parts of the network of a config for an image of this size, as text.

    Args:
        cfg: also of Detectron2's own Panoptic FPN; for the CPU.
    """
    cfg = cfg.clone()
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    if -1 in (cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES):
        cfg = with_class_counts(cfg)
    check_network(cfg)
    model = build_network(cfg).eval()
    parts = analyze(model, cfg, height, width)
    parts.append(("total", *(sum(part[i] for part in parts) for i in (1, 2))))
    rows = [(name, f"{parameters:,}", f"{adds / 1e9:.2f}") for name, parameters, adds in parts]
    header = ["", "parameters", f"multiply-adds at {height} x {width} / 1e9"]
    table = tabulate(rows, header, colalign=("left", "right", "right"), disable_numparse=True)
    return f"{table}\n\ntotal parameters: {sum(p.numel() for p in model.parameters())}"


def count(module: nn.Module, *inputs) -> tuple[int, int]:
    """Parameters and multiply-adds of a module with these inputs."""
    analysis = FlopCountAnalysis(module, inputs)
    analysis.set_op_handle("torchvision::deform_conv2d", _deformable)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    adds = sum(analysis.by_operator()[operator] for operator in MULTIPLY_ADD)
    return sum(p.numel() for p in module.parameters()), adds


def _deformable(inputs, outputs) -> Counter:
    """As of a plain convolution, besides the one of its offsets."""
    x, weight, out = (get_shape(value) for value in (*inputs[:2], outputs[0]))
    return Counter(conv=conv_flop_count(x, weight, out))


@torch.no_grad()
def analyze(model: nn.Module, cfg, height: int, width: int) -> list[tuple[str, int, int]]:
    """Name, parameters and multiply-adds of each part of a panoptic model for one image."""
    divisor = max(model.backbone.size_divisibility, 1)
    image = torch.zeros(1, 3, -height % divisor + height, -width % divisor + width)
    features = model.backbone(image)
    body = count(model.backbone.bottom_up, image)
    whole = count(model.backbone, image)
    parts = [
        ("backbone", *body),
        ("FPN", whole[0] - body[0], whole[1] - body[1]),
        ("semantic head", *count(model.sem_seg_head, features, None)),
    ]
    if hasattr(model, "box_head"):  # one stage
        return [*parts, ("box head", *count(model.box_head, features))]
    return [*parts, *_of_instance_heads(model, cfg, features)]


def _of_instance_heads(model: nn.Module, cfg: CfgNode, features: dict) -> list:
    heads, rpn = model.roi_heads, model.proposal_generator
    boxes, masks = cfg.MODEL.RPN.POST_NMS_TOPK_TEST, cfg.TEST.DETECTIONS_PER_IMAGE
    channels = features[heads.box_in_features[0]].shape[1]
    box_size, mask_size = heads.box_pooler.output_size, heads.mask_pooler.output_size

    box_network = nn.Sequential(heads.box_head, heads.box_predictor)
    mask_network = nn.Sequential(*heads.mask_head.children())
    return [
        ("RPN", *count(rpn.rpn_head, [features[f] for f in rpn.in_features])),
        (f"box head, {boxes} boxes", *count(box_network, torch.zeros(boxes, channels, *box_size))),
        (
            f"mask head, {masks} boxes",
            *count(mask_network, torch.zeros(masks, channels, *mask_size)),
        ),
    ]
