"""EfficientNet without squeeze-excite, and EfficientNet-Lite."""

import re

import timm
from detectron2.modeling import Backbone
from timm.layers import freeze_batch_norm_2d
from torch import nn

from efficientps_d2_runtime.errors import InputError

FEATURES = ("res2", "res3", "res4", "res5")
STRIDES = (4, 8, 16, 32)


def is_paper_efficientnet(name: str) -> bool:
    """True for the names that get the paper's changes: no squeeze-excite, LeakyReLU(0.01)."""
    return re.fullmatch(r"tf_efficientnet_b[0-7](\..*)?", name) is not None


def is_efficientnet_lite(name: str) -> bool:
    """True for EfficientNet-Lite, which has no squeeze-excite by design and keeps its ReLU6."""
    return re.fullmatch(r"tf_efficientnet_lite[0-4](\..*)?", name) is not None


class EfficientNet(Backbone):
    """EfficientNet with the taps of EfficientPS (paper section 3.1).

    Takes images (N, C, H, W), returns a dict of "res2".."res5" at strides 4, 8, 16 and 32. The taps
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
        in_channels: int = 3,
    ):
        """
        Args:
            name: timm name of EfficientNet B0 to B7 or Lite0 to Lite4.
            drop_path: stochastic depth rate; the paper uses none.
            activate_stage0_projection: also activate the projections of stage 0, which are linear
                in EfficientNet; the authors' code does (B0 to B7 only).
            in_channels: bands of an image.
        """
        super().__init__()
        paper = is_paper_efficientnet(name)
        changes = {"se_layer": nn.Identity, "act_layer": nn.LeakyReLU} if paper else {}
        net = timm.create_model(name, drop_path_rate=drop_path, in_chans=in_channels, **changes)
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
