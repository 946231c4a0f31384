"""The backbones that ``MODEL.BACKBONE.NAME`` names, with ImageNet weights and kind of norm."""

import timm
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from timm.layers import GroupNormAct, convert_sync_batchnorm, freeze_batch_norm_2d
from torch import nn

from efficientps_d2.modeling.backbone.efficientnet import (
    EfficientNet,
    is_efficientnet_lite,
    is_paper_efficientnet,
)
from efficientps_d2.modeling.backbone.pretrained import (
    load_pretrained_backbone,
    warn_of_other_statistics,
)
from efficientps_d2.modeling.backbone.timm_features import TimmFeatures
from efficientps_d2.modeling.backbone.two_way_fpn import TwoWayFPN
from efficientps_d2.modeling.layers import norm_layer
from efficientps_d2_runtime.errors import InputError


def check_weights_tag(name: str) -> None:
    """Fail if a timm name ends with the tag of weights that timm does not have."""
    network, _, tag = name.partition(".")
    known = timm.list_pretrained(f"{network}.*")
    if tag and known and name not in known:
        raise InputError(
            f"MODEL.EFFICIENTNET.NAME is {name}, but timm has no such weights; name {network} or "
            f"one of {', '.join(known)}."
        )


def set_norm(backbone: Backbone, norm: str) -> Backbone:
    """Replace the backbone's batch norms by the kind that MODEL.EFFICIENTNET.NORM names."""
    if norm == "BN":
        return backbone
    if norm == "SyncBN":
        return convert_sync_batchnorm(backbone)
    if norm == "FrozenBN":
        return freeze_batch_norm_2d(backbone)
    if norm == "GN":
        return _with_group_norms(backbone)
    raise InputError(
        f'The norm of the backbone is {norm!r}; give "BN", "SyncBN", "FrozenBN" or "GN".'
    )


def _with_group_norms(backbone: Backbone) -> Backbone:
    """For training without ImageNet weights on few images: no image depends on the others."""
    for name, norm in list(backbone.named_modules()):
        if isinstance(norm, nn.BatchNorm2d):
            groups = norm_layer("GN", norm.num_features).num_groups
            group_norm = GroupNormAct(norm.num_features, groups, apply_act=False)
            group_norm.act = getattr(norm, "act", nn.Identity())
            backbone.set_submodule(name, group_norm)
    return backbone


@BACKBONE_REGISTRY.register()
def build_efficientnet_backbone(cfg, input_shape: ShapeSpec) -> Backbone:
    """Build ``MODEL.EFFICIENTNET.NAME`` with its ImageNet weights, norm and frozen part."""
    options = cfg.MODEL.EFFICIENTNET
    weights = "" if cfg.MODEL.WEIGHTS else options.WEIGHTS
    check_weights_tag(options.NAME)
    if weights and input_shape.channels == 3:
        warn_of_other_statistics(options.NAME, weights, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)
    paper = is_paper_efficientnet(options.NAME)
    if options.ACTIVATE_STAGE0_PROJECTION and not paper:
        raise InputError(
            "MODEL.EFFICIENTNET.ACTIVATE_STAGE0_PROJECTION is only for tf_efficientnet_b0 to b7."
        )
    if paper or is_efficientnet_lite(options.NAME):
        backbone = EfficientNet(
            options.NAME,
            drop_path=options.DROP_PATH,
            activate_stage0_projection=options.ACTIVATE_STAGE0_PROJECTION,
            in_channels=input_shape.channels,
        )
        if weights:
            load_pretrained_backbone(backbone, options.NAME, weights)
    else:
        backbone = TimmFeatures(
            options.NAME,
            weights=weights,
            drop_path=options.DROP_PATH,
            in_channels=input_shape.channels,
        )
    backbone = set_norm(backbone, options.NORM)
    backbone.freeze(cfg.MODEL.BACKBONE.FREEZE_AT)
    return backbone


@BACKBONE_REGISTRY.register()
def build_efficientnet_two_way_fpn_backbone(cfg, input_shape: ShapeSpec) -> TwoWayFPN:
    """The backbone of EfficientPS: EfficientNet and 2-way FPN."""
    return TwoWayFPN(
        build_efficientnet_backbone(cfg, input_shape),
        cfg.MODEL.FPN.IN_FEATURES,
        cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        separable=cfg.MODEL.EFFICIENTPS.SEPARABLE_FPN,
        inner_norm=cfg.MODEL.EFFICIENTPS.INNER_NORM,
        linear=cfg.MODEL.EFFICIENTPS.LINEAR_FPN,
    )


@BACKBONE_REGISTRY.register()
def build_efficientnet_fpn_backbone(cfg, input_shape: ShapeSpec) -> FPN:
    """Detectron2's FPN on the same EfficientNet, for comparison with Panoptic FPN."""
    return FPN(
        build_efficientnet_backbone(cfg, input_shape),
        cfg.MODEL.FPN.IN_FEATURES,
        cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
