"""The semantic head of EfficientPS."""

import torch
from detectron2.config import configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from efficientps_d2.modeling.layers import SeparableConv2d, conv_norm_act, fill_classifier
from efficientps_d2.modeling.semantic_heads.base import SemanticHead, resized_to


class DensePredictionCell(nn.Module):
    """DPC: five dilated separable convolutions, partly chained, for large context."""

    # (vertical, horizontal) dilations and the branch each one reads; -1 is the cell's input.
    BRANCHES = (((1, 6), -1), ((1, 1), 0), ((6, 21), 0), ((18, 15), 0), ((6, 3), 3))

    def __init__(self, in_channels: int, out_channels: int, *, norm: str, inner_norm: bool):
        super().__init__()
        self.branches = nn.ModuleList(
            SeparableConv2d(
                in_channels, in_channels, norm=norm, inner_norm=inner_norm, dilation=dilation
            )
            for dilation, _ in self.BRANCHES
        )
        self.project = conv_norm_act(len(self.BRANCHES) * in_channels, out_channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for conv, (_, source) in zip(self.branches, self.BRANCHES, strict=True):
            outputs.append(conv(x if source < 0 else outputs[source]))
        return self.project(torch.cat(outputs, dim=1))


class LargeScaleFeatureExtractor(nn.Sequential):
    """LSFE: two separable convolutions for the fine levels."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs):
        super().__init__(
            SeparableConv2d(in_channels, out_channels, **kwargs),
            SeparableConv2d(out_channels, out_channels, **kwargs),
        )


class MismatchCorrection(nn.Sequential):
    """MC: two separable convolutions, then bilinear upsampling by 2."""

    def __init__(self, channels: int, **kwargs):
        super().__init__(
            SeparableConv2d(channels, channels, **kwargs),
            SeparableConv2d(channels, channels, **kwargs),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )


@SEM_SEG_HEADS_REGISTRY.register()
class EfficientPSSemSegHead(SemanticHead):
    """The semantic head: LSFE on p2 and p3, DPC on p4 and p5, tied by MC (paper section 3.3)."""

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        conv_dims: int = 128,
        norm: str = "BN",
        inner_norm: bool = False,
        **kwargs,
    ):
        """
        Args:
            input_shape: shapes of the four features, at strides 4, 8, 16 and 32.
            num_classes: number of all classes.
            conv_dims: channels of each of the four branches.
            norm, inner_norm: see :class:`SeparableConv2d`.
            kwargs: see :class:`SemanticHead`.
        """
        super().__init__(input_shape, **kwargs)
        channels = self.in_channels
        options = {"norm": norm, "inner_norm": inner_norm}
        self.lsfe2 = LargeScaleFeatureExtractor(channels[0], conv_dims, **options)
        self.lsfe3 = LargeScaleFeatureExtractor(channels[1], conv_dims, **options)
        self.dpc4 = DensePredictionCell(channels[2], conv_dims, **options)
        self.dpc5 = DensePredictionCell(channels[3], conv_dims, **options)
        self.mc4 = MismatchCorrection(conv_dims, **options)
        self.mc3 = MismatchCorrection(conv_dims, **options)
        self.predictor = Conv2d(4 * conv_dims, num_classes, kernel_size=1)
        fill_classifier(self.predictor)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]):
        return {
            **super().from_config(cfg, input_shape),
            "norm": cfg.MODEL.SEM_SEG_HEAD.NORM,
            "inner_norm": cfg.MODEL.EFFICIENTPS.INNER_NORM,
        }

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Logits (N, num_classes, H / 4, W / 4) from the four features."""
        p2, p3, p4, p5 = (features[f] for f in self.in_features)
        d5 = self.dpc5(p5)
        d4 = self.dpc4(p4)
        l3 = self.lsfe3(p3) + self.mc4(d4 + resized_to(d5, p4))
        l2 = self.lsfe2(p2) + self.mc3(l3)
        fused = [l2] + [resized_to(x, p2) for x in (l3, d4, d5)]
        return self.predictor(torch.cat(fused, dim=1))
