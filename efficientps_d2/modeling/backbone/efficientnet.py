"""Backbones: EfficientNet without squeeze-excite, EfficientNet-Lite, any timm feature network."""

import logging
import re

import timm
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from timm.layers import convert_sync_batchnorm, freeze_batch_norm_2d
from torch import nn

from efficientps_d2.modeling.backbone.pretrained import (
    existing_file,
    load_pretrained_backbone,
    warn_of_other_statistics,
)
from efficientps_d2.utils.errors import InputError, one_line

logger = logging.getLogger(__name__)

FEATURES = ("res2", "res3", "res4", "res5")
STRIDES = (4, 8, 16, 32)


def is_paper_efficientnet(name: str) -> bool:
    """True for the names that get the paper's changes: no squeeze-excite, LeakyReLU(0.01)."""
    return re.fullmatch(r"tf_efficientnet_b[0-7](\..*)?", name) is not None


def is_efficientnet_lite(name: str) -> bool:
    """True for EfficientNet-Lite, which has no squeeze-excite by design and keeps its ReLU6."""
    return re.fullmatch(r"tf_efficientnet_lite[0-4](\..*)?", name) is not None


def check_weights_tag(name: str) -> None:
    """Fail if a timm name ends with the tag of weights that timm does not have."""
    network, _, tag = name.partition(".")
    known = timm.list_pretrained(f"{network}.*")
    if tag and known and name not in known:
        raise InputError(
            f"MODEL.EFFICIENTNET.NAME is {name}, but timm has no such weights; name {network} or "
            f"one of {', '.join(known)}."
        )


class EfficientNet(Backbone):
    """EfficientNet with the taps of EfficientPS (paper section 3.1).

    Takes images (N, 3, H, W), returns a dict of "res2".."res5" at strides 4, 8, 16 and 32. The taps
    are the outputs of stages 1, 2, 4 (counted from 0) and the activated 1x1 head convolution; at B5
    they have 40, 64, 176 and 2048 channels. Padding is TensorFlow's SAME, as in the weights.
    """

    TAP_STAGES = {1: "res2", 2: "res3", 4: "res4"}

    def __init__(
        self,
        name: str = "tf_efficientnet_b5",
        *,
        drop_path: float = 0.0,
        activate_stage0_projection: bool = False,
    ):
        """
        Args:
            name: timm name of EfficientNet B0 to B7 or Lite0 to Lite4.
            drop_path: stochastic depth rate; the paper uses none.
            activate_stage0_projection: also activate the projections of stage 0, which are linear
                in EfficientNet; the authors' code does (B0 to B7 only).
        """
        super().__init__()
        paper = is_paper_efficientnet(name)
        changes = {"se_layer": nn.Identity, "act_layer": nn.LeakyReLU} if paper else {}
        net = timm.create_model(name, drop_path_rate=drop_path, **changes)
        # Only these parts: an unused classifier would break DistributedDataParallel.
        self.conv_stem, self.bn1, self.blocks = net.conv_stem, net.bn1, net.blocks
        self.conv_head, self.bn2 = net.conv_head, net.bn2
        if paper and activate_stage0_projection:
            for block in self.blocks[0]:
                block.bn2.act = nn.LeakyReLU()

        channels = [self.blocks[i][-1].conv_pwl.out_channels for i in self.TAP_STAGES]
        channels.append(self.conv_head.out_channels)
        self._out_features = list(FEATURES)
        self._out_feature_strides = dict(zip(FEATURES, STRIDES, strict=True))
        self._out_feature_channels = dict(zip(FEATURES, channels, strict=True))

    def forward(self, x):
        features = {}
        x = self.bn1(self.conv_stem(x))
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in self.TAP_STAGES:
                features[self.TAP_STAGES[i]] = x
        features["res5"] = self.bn2(self.conv_head(x))
        return features

    def freeze(self, freeze_at: int) -> None:
        """Freeze parameters and batch statistics: 1 the stem, 2 also up to res2, ... 5 all."""
        ends = {1: 0, 2: 2, 3: 3, 4: 5, 5: len(self.blocks)}
        if freeze_at not in range(6):
            raise InputError(f"MODEL.BACKBONE.FREEZE_AT is {freeze_at}; it must be 0 to 5.")
        if freeze_at == 0:
            return
        names = ["conv_stem", "bn1", *(f"blocks.{i}" for i in range(ends[freeze_at]))]
        if freeze_at == 5:
            names += ["conv_head", "bn2"]
        for name in names:
            module = self.get_submodule(name).requires_grad_(False)
            self.set_submodule(name, freeze_batch_norm_2d(module))


class TimmFeatures(Backbone):
    """Any timm network with features at strides 4, 8, 16 and 32, unchanged, as "res2".."res5"."""

    def __init__(self, name: str, *, weights: str = "", drop_path: float = 0.0):
        """
        Args:
            name: timm name of the network, with or without a weights tag.
            weights: "timm" to download ImageNet weights, a file in timm's format, or "".
            drop_path: stochastic depth rate.
        """
        super().__init__()
        try:
            reductions = timm.create_model(name, features_only=True).feature_info.reduction()
            options = {"out_indices": [reductions.index(s) for s in STRIDES]}
            if drop_path:
                options["drop_path_rate"] = drop_path
            self.body = timm.create_model(name, features_only=True, **options)
            self._channels_last = str(getattr(self.body, "output_fmt", "")).endswith("NHWC")
            shapes = [f.shape for f in self.forward(torch.zeros(2, 3, 64, 96)).values()]
            if [shape[-1] * s for shape, s in zip(shapes, STRIDES, strict=True)] != [96] * 4:
                raise ValueError(f"its features for 64 x 96 pixels have the shapes {shapes}")
            if weights:
                source = {} if weights == "timm" else {"file": existing_file(weights)}
                self.body = timm.create_model(
                    name,
                    features_only=True,
                    pretrained=True,
                    pretrained_cfg_overlay=source,
                    **options,
                )
                logger.info("Loaded ImageNet weights of %s from %s.", name, weights)
        except InputError:
            raise
        except Exception as error:  # timm's networks and its hub client raise many kinds
            raise InputError(
                f"MODEL.EFFICIENTNET.NAME {name!r} with WEIGHTS {weights!r} cannot be used: "
                f"{type(error).__name__}, {one_line(error)}; take a convolutional "
                "network of timm.list_models() and, without a connection, a file of its weights."
            ) from error
        self._out_features = list(FEATURES)
        self._out_feature_strides = dict(zip(FEATURES, STRIDES, strict=True))
        channels = self.body.feature_info.channels()
        self._out_feature_channels = dict(zip(FEATURES, channels, strict=True))

    def forward(self, x):
        features = self.body(x)
        if self._channels_last:
            features = [f.permute(0, 3, 1, 2) for f in features]
        return dict(zip(FEATURES, features, strict=True))

    def freeze(self, freeze_at: int) -> None:
        """Only ``EfficientNet`` knows its stages."""
        if freeze_at != 0:
            raise InputError("MODEL.BACKBONE.FREEZE_AT must be 0 for a backbone of timm's own.")


def set_norm(backbone: Backbone, norm: str) -> Backbone:
    """Replace the backbone's batch norms by the kind that MODEL.EFFICIENTNET.NORM names."""
    if norm == "BN":
        return backbone
    if norm == "SyncBN":
        return convert_sync_batchnorm(backbone)
    if norm == "FrozenBN":
        return freeze_batch_norm_2d(backbone)
    raise InputError(f'MODEL.EFFICIENTNET.NORM is {norm!r}; use "BN", "SyncBN" or "FrozenBN".')


@BACKBONE_REGISTRY.register()
def build_efficientnet_backbone(cfg, input_shape: ShapeSpec) -> Backbone:
    """Build ``MODEL.EFFICIENTNET.NAME`` with its ImageNet weights, norm and frozen part."""
    options = cfg.MODEL.EFFICIENTNET
    weights = "" if cfg.MODEL.WEIGHTS else options.WEIGHTS
    check_weights_tag(options.NAME)
    if weights:
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
        )
        if weights:
            load_pretrained_backbone(backbone, options.NAME, weights)
    else:
        backbone = TimmFeatures(options.NAME, weights=weights, drop_path=options.DROP_PATH)
    backbone = set_norm(backbone, options.NORM)
    backbone.freeze(cfg.MODEL.BACKBONE.FREEZE_AT)
    return backbone
