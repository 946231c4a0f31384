"""Mask heads that keep their logits."""

import fvcore.nn.weight_init as weight_init
import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads.mask_head import (
    BaseMaskRCNNHead,
    MaskRCNNConvUpsampleHead,
    mask_rcnn_inference,
)
from detectron2.structures import Instances
from detectron2.utils import comm
from torch import Tensor, nn

from efficientps_d2.modeling.layers import SeparableConv2d, fill_classifier


class LogitMaskHead(BaseMaskRCNNHead):
    """Adds to the result of inference what fusion by logits needs.

    Every instance gets, besides Detectron2's ``pred_masks``, ``pred_mask_logits`` (N, M, M) float32
    of its predicted class: sigmoids computed in half precision cannot be turned back into them.
    """

    keeps_logits = True  # as ``pred_mask_logits``, which test-time augmentation needs

    def forward(self, x: Tensor, instances: list[Instances]):
        """As in :class:`BaseMaskRCNNHead`, with ``pred_mask_logits`` added in inference."""
        if self.training:
            return super().forward(x, instances)
        logits = self.layers(x).float()
        mask_rcnn_inference(logits, instances)
        classes = cat([i.pred_classes for i in instances])
        own_class = logits[torch.arange(len(classes), device=logits.device), classes]
        counts = [len(i) for i in instances]
        for image_logits, image_instances in zip(own_class.split(counts), instances, strict=True):
            image_instances.pred_mask_logits = image_logits
        return instances


@ROI_MASK_HEAD_REGISTRY.register()
class ConvMaskHead(LogitMaskHead, MaskRCNNConvUpsampleHead):
    """Detectron2's mask head, with logits."""


@ROI_MASK_HEAD_REGISTRY.register()
class SeparableConvMaskHead(LogitMaskHead, nn.Sequential):
    """Mask head of separable convolutions (paper section 3.4)."""

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        num_conv: int = 4,
        conv_dim: int = 256,
        norm: str = "BN",
        inner_norm: bool = False,
        **kwargs,
    ):
        """
        Args:
            input_shape: shape of the pooled features.
            num_classes: number of thing classes.
            num_conv, conv_dim: number and channels of the separable convolutions.
            norm, inner_norm: see :class:`SeparableConv2d`.
        """
        super().__init__(**kwargs)
        channels = input_shape.channels
        for k in range(num_conv):
            conv = SeparableConv2d(channels, conv_dim, norm=norm, inner_norm=inner_norm)
            self.add_module(f"mask_fcn{k + 1}", conv)
            channels = conv_dim
        self.add_module("deconv", nn.ConvTranspose2d(channels, conv_dim, 2, stride=2))
        self.add_module("deconv_relu", nn.ReLU(inplace=True))
        self.add_module("predictor", nn.Conv2d(conv_dim, num_classes, kernel_size=1))
        weight_init.c2_msra_fill(self.deconv)
        fill_classifier(self.predictor)

    @classmethod
    def from_config(cls, cfg, input_shape: ShapeSpec):
        head = cfg.MODEL.ROI_MASK_HEAD
        return {
            **super().from_config(cfg, input_shape),
            "input_shape": input_shape,
            "num_classes": cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "num_conv": head.NUM_CONV,
            "conv_dim": head.CONV_DIM,
            "norm": head.NORM,
            "inner_norm": cfg.MODEL.EFFICIENTPS.INNER_NORM,
        }

    def layers(self, x: Tensor) -> Tensor:
        """(R, C, M / 2, M / 2) pooled features to (R, num_classes, M, M) logits."""
        if self.training and len(x) == 0:
            return self._layers_without_rois(x)
        return nn.Sequential.forward(self, x)

    def _layers_without_rois(self, x: Tensor) -> Tensor:
        """No positive RoI in this process: norms must not see an empty batch, which gives NaN."""
        synchronised = any(isinstance(m, nn.SyncBatchNorm) for m in self.modules())
        if synchronised and comm.get_world_size() > 1:
            # The other processes wait for this one in every norm.
            return nn.Sequential.forward(self, x.new_zeros(1, *x.shape[1:]))[:0]
        size = 2 * x.shape[-1]
        unused = sum(p.sum() for p in self.parameters()) * 0.0  # a zero gradient for each of them
        return x.new_zeros(0, self.predictor.out_channels, size, size) + unused
