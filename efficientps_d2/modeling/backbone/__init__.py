"""Backbones, and the pyramids on them; importing this registers them."""

from efficientps_d2.modeling.backbone.build import (
    build_efficientnet_backbone,
    build_efficientnet_fpn_backbone,
    build_efficientnet_two_way_fpn_backbone,
)
from efficientps_d2.modeling.backbone.efficientnet import EfficientNet
from efficientps_d2.modeling.backbone.resnet import build_deformable_resnet_fpn_backbone
from efficientps_d2.modeling.backbone.two_way_fpn import TwoWayFPN

__all__ = [
    "EfficientNet",
    "TwoWayFPN",
    "build_deformable_resnet_fpn_backbone",
    "build_efficientnet_backbone",
    "build_efficientnet_fpn_backbone",
    "build_efficientnet_two_way_fpn_backbone",
]
