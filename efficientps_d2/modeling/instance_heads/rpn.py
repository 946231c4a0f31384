"""RPN that respects crowd regions, its separable head, and anchors on whole pixels."""

import torch
from detectron2.config import configurable
from detectron2.modeling import (
    ANCHOR_GENERATOR_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    RPN_HEAD_REGISTRY,
)
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead
from detectron2.structures import Boxes, Instances

from efficientps_d2.modeling.instance_heads.crowd import inside_crowd, split_crowd
from efficientps_d2.modeling.layers import SeparableConv2d, fill_hidden_layers


@ANCHOR_GENERATOR_REGISTRY.register()
class WholePixelAnchorGenerator(DefaultAnchorGenerator):
    """Anchors whose sides lie on whole pixels, as in the authors' code; half a pixel at most."""

    def generate_cell_anchors(self, *args, **kwargs):
        """As in :class:`DefaultAnchorGenerator`."""
        return super().generate_cell_anchors(*args, **kwargs).round()


@PROPOSAL_GENERATOR_REGISTRY.register()
class CrowdAwareRPN(RPN):
    """Detectron2's RPN; anchors in crowd regions are not trained as background."""

    @classmethod
    def from_config(cls, cfg, input_shape):
        options = super().from_config(cfg, input_shape)
        fill_hidden_layers(options["head"])
        return options

    @torch.no_grad()
    def label_and_sample_anchors(self, anchors: list[Boxes], gt_instances: list[Instances]):
        """As in :class:`RPN`; label -1 (ignored) for negatives inside crowd regions."""
        instances, crowds = zip(*(split_crowd(x) for x in gt_instances), strict=True)
        labels, matched_boxes = super().label_and_sample_anchors(anchors, list(instances))
        anchors = Boxes.cat(anchors)
        for label, crowd in zip(labels, crowds, strict=True):
            if len(crowd):
                label[(label == 0) & inside_crowd(anchors, crowd)] = -1
        return labels, matched_boxes


@RPN_HEAD_REGISTRY.register()
class SeparableConvRPNHead(StandardRPNHead):
    """RPN head whose 3x3 convolution is depthwise-separable; no published model uses it."""

    @configurable
    def __init__(self, *, in_channels: int, norm: str = "BN", inner_norm: bool = False, **kwargs):
        super().__init__(in_channels=in_channels, **kwargs)
        self.conv = SeparableConv2d(in_channels, in_channels, norm=norm, inner_norm=inner_norm)

    @classmethod
    def from_config(cls, cfg, input_shape):
        options = super().from_config(cfg, input_shape)
        options["norm"] = cfg.MODEL.FPN.NORM
        options["inner_norm"] = cfg.MODEL.EFFICIENTPS.INNER_NORM
        return options
