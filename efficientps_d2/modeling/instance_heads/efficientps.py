"""Instance branch: RPN and RoI heads that respect crowd regions, separable RPN and mask heads."""

import fvcore.nn.weight_init as weight_init
import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling import (
    ANCHOR_GENERATOR_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    RPN_HEAD_REGISTRY,
)
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.modeling.roi_heads.mask_head import BaseMaskRCNNHead, mask_rcnn_inference
from detectron2.structures import Boxes, Instances, pairwise_ioa, pairwise_iou
from detectron2.utils import comm
from torch import Tensor, nn

from efficientps_d2.modeling.layers import SeparableConv2d, fill_classifier

# Share of a box that must lie in a crowd region for the box not to count as background.
CROWD_COVERAGE = 0.5


def split_crowd(targets: Instances) -> tuple[Instances, Boxes]:
    """Ordinary instances, and the boxes of crowd regions, which the mapper marks with class -1."""
    is_crowd = targets.gt_classes < 0
    return targets[~is_crowd], targets.gt_boxes[is_crowd]


def inside_crowd(boxes: Boxes, crowd: Boxes) -> Tensor:
    """(N,) bool: at least half of the box lies in one crowd region."""
    if len(crowd) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return pairwise_ioa(crowd, boxes).max(dim=0).values >= CROWD_COVERAGE


@ANCHOR_GENERATOR_REGISTRY.register()
class WholePixelAnchorGenerator(DefaultAnchorGenerator):
    """Anchors whose sides lie on whole pixels, as in the authors' code; half a pixel at most."""

    def generate_cell_anchors(self, *args, **kwargs):
        """As in :class:`DefaultAnchorGenerator`."""
        return super().generate_cell_anchors(*args, **kwargs).round()


def fill_hidden_layers(head: nn.Module) -> None:
    """He initialisation of the 3x3 convolutions and linear layers of a head of Detectron2.

    The N(0, 0.01) of Detectron2's RPN suits a pyramid without norms, whose features begin at +-10.
    Those of the 2-way FPN begin at +-0.6.
    """
    for module in head.modules():
        is_full = isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        if isinstance(module, nn.Linear) or (is_full and module.groups == 1):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")


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


@ROI_HEADS_REGISTRY.register()
class CrowdAwareROIHeads(StandardROIHeads):
    """Detectron2's RoI heads; proposals in crowd regions are neither positive nor negative."""

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        options = super()._init_box_head(cfg, input_shape)
        fill_hidden_layers(options["box_head"])
        return options

    @torch.no_grad()
    def label_and_sample_proposals(self, proposals: list[Instances], targets: list[Instances]):
        """As in :class:`ROIHeads`, without unmatched proposals that lie in a crowd region."""
        kept_proposals, kept_targets = [], []
        for proposals_per_image, targets_per_image in zip(proposals, targets, strict=True):
            instances, crowd = split_crowd(targets_per_image)
            if len(crowd):
                boxes = proposals_per_image.proposal_boxes
                ignored = inside_crowd(boxes, crowd)
                if len(instances):
                    overlap = pairwise_iou(instances.gt_boxes, boxes).max(dim=0).values
                    ignored &= overlap < self.proposal_matcher.thresholds[1]
                proposals_per_image = proposals_per_image[~ignored]
            kept_proposals.append(proposals_per_image)
            kept_targets.append(instances)
        return super().label_and_sample_proposals(kept_proposals, kept_targets)


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


@ROI_MASK_HEAD_REGISTRY.register()
class SeparableConvMaskHead(BaseMaskRCNNHead, nn.Sequential):
    """Mask head of separable convolutions that keeps its logits (paper section 3.4).

    In inference every instance gets, besides Detectron2's ``pred_masks``, ``pred_mask_logits``
    (N, M, M) float32 of its predicted class: the fusion needs logits, and sigmoids computed in half
    precision cannot be turned back into them.
    """

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

    def layers(self, x: Tensor) -> Tensor:
        """(R, C, M / 2, M / 2) pooled features to (R, num_classes, M, M) logits."""
        if len(x) == 0 and self.training:
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
