"""Detectron2's ResNet with what UPSNet adds: deformable blocks, and context in its pyramid."""

import fvcore.nn.weight_init as weight_init
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import build_resnet_backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from torch import Tensor, nn

from efficientps_d2.modeling.deformable import DeformConv2d
from efficientps_d2_runtime.errors import InputError


@BACKBONE_REGISTRY.register()
def build_deformable_resnet_fpn_backbone(cfg, input_shape: ShapeSpec) -> FPN:
    """``MODEL.RESNETS`` below an FPN.

    Detectron2's own deformable blocks need its compiled operators and cannot train on a CPU.
    """
    cfg = cfg.clone()
    deformable, options = cfg.MODEL.RESNETS.DEFORM_ON_PER_STAGE, cfg.MODEL.RESNETS
    if any(deformable) and (options.DEPTH < 50 or options.DEFORM_MODULATED):
        raise InputError(
            "MODEL.RESNETS.DEFORM_ON_PER_STAGE needs DEPTH 50 or more and DEFORM_MODULATED False."
        )
    cfg.MODEL.RESNETS.DEFORM_ON_PER_STAGE = [False] * len(deformable)
    resnet = build_resnet_backbone(cfg, input_shape)
    for stage, is_deformable in zip(resnet.stages, deformable, strict=False):
        if is_deformable:
            make_deformable(stage)
    fpn = FPN(
        resnet,
        cfg.MODEL.FPN.IN_FEATURES,
        cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
    return add_global_context(fpn) if cfg.MODEL.FPN.GLOBAL_CONTEXT else fpn


def make_deformable(stage: nn.Sequential) -> None:
    """Replace the 3x3 convolution of each block, which keeps its weights."""
    for block in stage:
        old = block.conv2
        block.conv2 = DeformConv2d(
            old.in_channels,
            old.out_channels,
            3,
            stride=old.stride,
            padding=old.padding,
            dilation=old.dilation,
            groups=old.groups,
            bias=False,
            norm=old.norm,
            activation=old.activation,
        )
        block.conv2.weight = old.weight
        block.conv2.requires_grad_(old.weight.requires_grad)


class ContextLateral(Conv2d):
    """A lateral convolution that adds the mean of its input, through a linear layer.

    In UPSNet's configs for COCO the coarsest level has one (``fpn_with_gap`` there).
    """

    def __init__(self, in_channels: int, out_channels: int, **kwargs):
        super().__init__(in_channels, out_channels, kernel_size=1, **kwargs)
        self.context = nn.Linear(in_channels, out_channels)
        weight_init.c2_xavier_fill(self.context)

    def forward(self, x: Tensor) -> Tensor:
        context = self.context(x.mean(dim=(2, 3)))
        return super().forward(x) + context[:, :, None, None]


def add_global_context(fpn: FPN) -> FPN:
    """Give the coarsest level of an FPN a :class:`ContextLateral`, in place."""
    old = fpn.lateral_convs[0]
    (name,) = (name for name, module in fpn.named_children() if module is old)
    new = ContextLateral(
        old.in_channels, old.out_channels, bias=old.bias is not None, norm=old.norm
    )
    new.weight, new.bias = old.weight, old.bias
    setattr(fpn, name, new)
    fpn.lateral_convs[0] = new
    return fpn
