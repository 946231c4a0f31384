"""Any network of timm as a backbone."""

import logging

import timm
import torch
from detectron2.modeling import Backbone

from efficientps_d2.modeling.backbone.efficientnet import (
    FEATURES,
    STRIDES,
)
from efficientps_d2.modeling.backbone.pretrained import existing_file
from efficientps_d2_runtime.errors import InputError, one_line

logger = logging.getLogger(__name__)


class TimmFeatures(Backbone):
    """Any timm network with features at strides 4, 8, 16 and 32, unchanged, as "res2".."res5"."""

    def __init__(
        self, name: str, *, weights: str = "", drop_path: float = 0.0, in_channels: int = 3
    ):
        """
        Args:
            name: timm name of the network, with or without a weights tag.
            weights: "timm" to download ImageNet weights, a file in timm's format, or "".
            drop_path: stochastic depth rate.
            in_channels: bands of an image; timm spreads RGB weights over them.
        """
        super().__init__()
        try:
            reductions = timm.create_model(name, features_only=True).feature_info.reduction()
            options = {"out_indices": [reductions.index(s) for s in STRIDES]}
            options["in_chans"] = in_channels
            if drop_path:
                options["drop_path_rate"] = drop_path
            self.body = timm.create_model(name, features_only=True, **options)
            self._channels_last = str(getattr(self.body, "output_fmt", "")).endswith("NHWC")
            shapes = [f.shape for f in self.forward(torch.zeros(2, in_channels, 64, 96)).values()]
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
