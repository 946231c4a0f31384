"""Parameters and multiply-adds of a panoptic network, part by part."""

import copy

import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from efficientps_d2.config.building import build_network, check_network
from efficientps_d2.data.classes import with_class_counts


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
    """Parameters of a module, and multiply-adds of its products and convolutions with inputs."""
    operators = {torch.ops.torchvision.deform_conv2d: _deformable}
    with FlopCounterMode(display=False, custom_mapping=operators) as counter:
        module(*inputs)
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2


def _deformable(x_shape, weight_shape, *_, out_shape, **__) -> int:
    """As of a plain convolution, besides the one of its offsets."""
    return conv_flop_count(x_shape, weight_shape, out_shape)


@torch.no_grad()
def analyze(model: nn.Module, cfg, height: int, width: int) -> list[tuple[str, int, int]]:
    """Name, parameters and multiply-adds of each part of a panoptic model for one image.

    Nothing is computed, so that any size takes a second.
    """
    model = on_meta(model)
    divisor = max(model.backbone.size_divisibility, 1)
    padded = -height % divisor + height, -width % divisor + width
    image = torch.zeros(1, len(cfg.MODEL.PIXEL_MEAN), *padded, device="meta")
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


def on_meta(model: nn.Module) -> nn.Module:
    """A copy that only knows its shapes, in the mode of inference."""
    return copy.deepcopy(model).to("meta").eval()


def _of_instance_heads(model: nn.Module, cfg: CfgNode, features: dict) -> list:
    heads, rpn = model.roi_heads, model.proposal_generator
    boxes, masks = cfg.MODEL.RPN.POST_NMS_TOPK_TEST, cfg.TEST.DETECTIONS_PER_IMAGE
    masks = boxes if masks < 0 else masks  # -1 is any number
    channels = features[heads.box_in_features[0]].shape[1]
    box_size, mask_size = heads.box_pooler.output_size, heads.mask_pooler.output_size
    of_boxes = torch.zeros(boxes, channels, *box_size, device="meta")
    of_masks = torch.zeros(masks, channels, *mask_size, device="meta")
    box_network = nn.Sequential(heads.box_head, heads.box_predictor)
    mask_network = nn.Sequential(*heads.mask_head.children())
    return [
        ("RPN", *count(rpn.rpn_head, [features[f] for f in rpn.in_features])),
        (f"box head, {boxes} boxes", *count(box_network, of_boxes)),
        (f"mask head, {masks} boxes", *count(mask_network, of_masks)),
    ]
