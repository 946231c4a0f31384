"""The 2-way feature pyramid of EfficientPS."""

from collections.abc import Sequence

import torch
from detectron2.modeling import Backbone
from torch import nn
from torch.nn import functional as F

from efficientps_d2.modeling.layers import SeparableConv2d, conv_norm_act


class TwoWayFPN(Backbone):
    """Two pyramids, one top-down and one bottom-up, summed at each scale (paper section 3.2).

    Takes images (N, 3, H, W) and returns "p2".."p5", each (N, out_channels, H / s, W / s) at
    strides s = 4, 8, 16 and 32. Each pyramid has lateral 1x1 convolutions of its own; both resize
    by nearest neighbour.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str] = ("res2", "res3", "res4", "res5"),
        out_channels: int = 256,
        *,
        norm: str = "BN",
        separable: bool = True,
        inner_norm: bool = False,
        linear: bool = False,
    ):
        """
        Args:
            bottom_up: network whose features are fused.
            in_features: its features, finest first.
            out_channels: channels of every output.
            norm: kind of norm after every convolution.
            separable: separable (paper) or full 3x3 (authors' code) output convolutions.
            inner_norm: see :class:`SeparableConv2d`.
            linear: no LeakyReLU after the convolutions, which the paper has.
        """
        super().__init__()
        shapes = [bottom_up.output_shape()[f] for f in in_features]
        self.bottom_up = bottom_up
        self.in_features = tuple(in_features)

        options = {"norm": norm, "linear": linear}

        def laterals():
            return nn.ModuleList(
                [conv_norm_act(s.channels, out_channels, **options) for s in shapes]
            )

        def output():
            channels = (out_channels, out_channels)
            if separable:
                return SeparableConv2d(*channels, inner_norm=inner_norm, **options)
            return conv_norm_act(*channels, 3, padding=1, **options)

        self.top_down_laterals = laterals()
        self.bottom_up_laterals = laterals()
        self.outputs = nn.ModuleList([output() for _ in shapes])
        for layers in (self.top_down_laterals, self.bottom_up_laterals, self.outputs):
            for module in layers.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.xavier_uniform_(module.weight)

        if linear:  # leaves no other trace in weights, which fit both forms
            self.register_buffer("is_linear", torch.tensor(True))

        self._out_features = [f"p{s.stride.bit_length() - 1}" for s in shapes]
        self._out_feature_strides = {
            f: s.stride for f, s in zip(self._out_features, shapes, strict=True)
        }
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._size_divisibility = max(s.stride for s in shapes)

    @property
    def size_divisibility(self) -> int:
        return self._size_divisibility

    def forward(self, x):
        features = self.bottom_up(x)
        features = [features[f] for f in self.in_features]
        top_down = [conv(f) for conv, f in zip(self.top_down_laterals, features, strict=True)]
        bottom_up = [conv(f) for conv, f in zip(self.bottom_up_laterals, features, strict=True)]
        for i in reversed(range(len(features) - 1)):
            top_down[i] = top_down[i] + _resize_like(top_down[i + 1], top_down[i])
        for i in range(1, len(features)):
            bottom_up[i] = bottom_up[i] + _resize_like(bottom_up[i - 1], bottom_up[i])
        outputs = [
            conv(t + b) for conv, t, b in zip(self.outputs, top_down, bottom_up, strict=True)
        ]
        return dict(zip(self._out_features, outputs, strict=True))


def _resize_like(x, target):
    return F.interpolate(x, size=target.shape[-2:], mode="nearest")
