"""The semantic head of UPSNet (Xiong et al., CVPR 2019, section 3.2)."""

import fvcore.nn.weight_init as weight_init
import torch
from detectron2.config import configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from efficientps_d2.modeling.deformable import DeformConv2d
from efficientps_d2.modeling.layers import norm_layer
from efficientps_d2.modeling.semantic_heads.base import SemanticHead, resized_to


@SEM_SEG_HEADS_REGISTRY.register()
class UPSNetSemSegHead(SemanticHead):
    """Deformable convolutions, the same for p2 to p5, whose results are joined at p2's size."""

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        num_convs: int = 2,
        conv_dims: int = 128,
        norm: str = "",
        **kwargs,
    ):
        """
        Args:
            input_shape: shapes of the four features, at strides 4, 8, 16 and 32, equally wide.
            num_classes: number of all classes.
            num_convs: 2 in the paper's configs for Cityscapes, 3 in those for COCO.
            conv_dims: channels of the last two of these; the others keep the FPN's.
            norm: of the convolutions; UPSNet has none.
            kwargs: see :class:`SemanticHead`.
        """
        super().__init__(input_shape, **kwargs)
        channels, convs = self.in_channels[0], []
        for index in range(num_convs):
            out = conv_dims if index >= num_convs - 2 else channels
            conv = DeformConv2d(
                channels,
                out,
                padding=1,
                bias=not norm,
                norm=norm_layer(norm, out),
                activation=nn.ReLU(inplace=True),
            )
            weight_init.c2_msra_fill(conv)
            convs.append(conv)
            channels = out
        self.convs = nn.Sequential(*convs)
        self.predictor = Conv2d(4 * channels, num_classes, kernel_size=1)
        nn.init.normal_(self.predictor.weight, std=0.01)
        nn.init.zeros_(self.predictor.bias)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]):
        return {
            **super().from_config(cfg, input_shape),
            "num_convs": cfg.MODEL.UPSNET.NUM_CONVS,
            "norm": cfg.MODEL.SEM_SEG_HEAD.NORM,
        }

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Logits (N, num_classes, H / 4, W / 4) from the four features."""
        fine, *others = (self.convs(features[name]) for name in self.in_features)
        return self.predictor(torch.cat([fine, *(resized_to(x, fine) for x in others)], dim=1))
