"""UPSNet (Xiong et al., CVPR 2019): its panoptic head is trained, too."""

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torch.nn import functional as F

from efficientps_d2.modeling.cpu_sampling import SampledROIAlign
from efficientps_d2.modeling.fusion.shared import stuff_classes
from efficientps_d2.modeling.fusion.upsnet_logits import panoptic_logits
from efficientps_d2.modeling.instance_heads.crowd import split_crowd
from efficientps_d2.modeling.meta_arch.panoptic_segmentor import PanopticSegmentor, padded_labels
from efficientps_d2.modeling.semantic_heads.base import STRIDE, every_fourth
from efficientps_d2_runtime.errors import InputError

NO_TARGET = -1
ROI_CELLS = 28


@META_ARCH_REGISTRY.register()
class UPSNet(PanopticSegmentor):
    """A panoptic network with a loss on the panoptic logits (paper section 3.3).

    The parts that its configs name are those of the paper; any semantic head with ``layers`` and
    ``losses``, and any fusion, will do.
    """

    @configurable
    def __init__(
        self,
        *,
        panoptic_loss_weight: float,
        roi_loss_weight: float,
        kept_boxes: float,
        **kwargs,
    ):
        """
        Args:
            panoptic_loss_weight: factor of ``loss_panoptic``.
            roi_loss_weight: factor of ``loss_sem_seg_roi``, the semantic loss in the boxes of the
                ground truth; 0 for none.
            kept_boxes: share of these boxes that become instances of the panoptic logits; the
                others teach the unknown channel.

        Other arguments are those of :class:`PanopticSegmentor`.
        """
        super().__init__(**kwargs)
        if self.sem_seg_head.common_stride != STRIDE:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE is {self.sem_seg_head.common_stride}; UPSNet "
                f"compares logits at stride {STRIDE}; set it {STRIDE}."
            )
        self.panoptic_loss_weight = panoptic_loss_weight
        self.roi_loss_weight = roi_loss_weight
        self.kept_boxes = kept_boxes
        self.roi_align = SampledROIAlign((ROI_CELLS, ROI_CELLS), 1 / STRIDE, sampling_ratio=2)

    @classmethod
    def from_config(cls, cfg):
        options = cfg.MODEL.UPSNET
        return {
            **super().from_config(cfg),
            "panoptic_loss_weight": options.PANOPTIC_LOSS_WEIGHT,
            "roi_loss_weight": options.ROI_LOSS_WEIGHT,
            "kept_boxes": options.KEPT_BOXES,
        }

    def forward(self, batched_inputs: list[dict]):
        """Losses in training, otherwise :meth:`inference`."""
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        sem_seg = padded_labels(self, batched_inputs)
        instances = [x["instances"].to(self.device) for x in batched_inputs]
        logits = self.sem_seg_head.layers(features)
        proposals, proposal_losses = self.proposal_generator(images, features, instances)
        _, instance_losses = self.roi_heads(images, features, proposals, instances)
        things = [split_crowd(targets)[0] for targets in instances]
        losses = {
            **self.sem_seg_head.losses(logits, sem_seg),
            **proposal_losses,
            **instance_losses,
            "loss_panoptic": self._panoptic_loss(features, logits.float(), sem_seg, things),
        }
        if self.roi_loss_weight:
            losses["loss_sem_seg_roi"] = self._roi_loss(logits.float(), sem_seg, things)
        return losses

    def _panoptic_loss(
        self,
        features: dict[str, Tensor],
        logits: Tensor,
        sem_seg: Tensor,
        instances: list[Instances],
    ) -> Tensor:
        """Cross-entropy of the panoptic logits, mean over all pixels, of ground-truth boxes."""
        kept = [self._some_of(targets) for targets in instances]
        mask_logits = self._mask_logits(features, kept)
        losses = []
        for image_logits, labels, targets, masks in zip(
            logits, sem_seg, kept, mask_logits, strict=True
        ):
            height, width = targets.image_size  # less the padding
            labels = every_fourth(labels[:height, :width])
            image_logits = image_logits[:, : labels.shape[0], : labels.shape[1]]
            own = torch.as_tensor(self.thing_class_ids, device=logits.device)[targets.gt_classes]
            with torch.autocast(logits.device.type, enabled=False):  # sums of two logits
                combined = panoptic_logits(
                    image_logits,
                    (targets.gt_boxes.tensor / STRIDE).tolist(),
                    masks,
                    own.tolist(),
                    thing_class_ids=self.thing_class_ids,
                )
            target = panoptic_target(
                labels,
                every_fourth(targets.gt_masks.tensor),
                stuff_classes(len(image_logits), self.thing_class_ids),
                ignore_value=self.sem_seg_head.ignore_value,
            )
            loss = F.cross_entropy(
                combined[None], target[None], ignore_index=NO_TARGET, reduction="sum"
            )
            losses.append(loss / max(target.numel(), 1))
        return torch.stack(losses).mean() * self.panoptic_loss_weight

    def _some_of(self, instances: Instances) -> Instances:
        """A random share of the instances, at least one if there is any."""
        count = max(int(self.kept_boxes * len(instances)), min(1, len(instances)))
        return instances[torch.randperm(len(instances), device=self.device)[:count]]

    def _mask_logits(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> tuple[Tensor, ...]:
        """(N, M, M) float32 logits of each image, of the true classes in the true boxes."""
        heads = self.roi_heads
        pooled = heads.mask_pooler(
            [features[name] for name in heads.mask_in_features], [i.gt_boxes for i in instances]
        )
        logits = heads.mask_head.layers(pooled).float()
        classes = torch.cat([i.gt_classes for i in instances])
        own = logits[torch.arange(len(classes), device=logits.device), classes]
        return own.split([len(i) for i in instances])

    def _roi_loss(self, logits: Tensor, sem_seg: Tensor, instances: list[Instances]) -> Tensor:
        """Semantic loss in the true boxes, mean over all cells.

        UPSNet pools the features before the classifier. Both are linear, so that pooling the logits
        gives the same.
        """
        boxes = [targets.gt_boxes.tensor for targets in instances]
        if not sum(map(len, boxes)):
            return logits.sum() * 0.0
        index = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
        pooled = self.roi_align(logits, torch.cat([index, torch.cat(boxes)], dim=1))
        targets = torch.cat(
            [cell_labels(labels, Boxes(b)) for labels, b in zip(sem_seg, boxes, strict=True)]
        )
        ignored = self.sem_seg_head.ignore_value
        loss = F.cross_entropy(pooled, targets, ignore_index=ignored, reduction="sum")
        return loss / targets.numel() * self.roi_loss_weight


def panoptic_target(
    sem_seg: Tensor, masks: Tensor, stuff_class_ids: list[int], *, ignore_value: int
) -> Tensor:
    """Channel of :func:`panoptic_logits` that each pixel belongs to.

    Args:
        sem_seg: (H, W) int64 contiguous ids.
        masks: (K, H, W) bool of the instances that have a channel; later ones cover others.
        stuff_class_ids: classes with a channel, in this order.
        ignore_value: label without ground truth.

    Returns:
        (H, W) int64, ``NO_TARGET`` without ground truth, and the last channel, "unknown", for
        things of no such instance.
    """
    unknown = len(stuff_class_ids) + len(masks)
    target = torch.full_like(sem_seg, unknown)
    target[sem_seg == ignore_value] = NO_TARGET
    for channel, class_id in enumerate(stuff_class_ids):
        target[sem_seg == class_id] = channel
    for channel, mask in enumerate(masks, start=len(stuff_class_ids)):
        target[mask] = channel
    return target


def cell_labels(sem_seg: Tensor, boxes: Boxes) -> Tensor:
    """(N, 28, 28) labels at the centres of the cells of N boxes, of (H, W) labels."""
    steps = (torch.arange(ROI_CELLS, device=sem_seg.device) + 0.5) / ROI_CELLS
    x0, y0, x1, y1 = boxes.tensor[..., None].unbind(dim=1)
    rows = (y0 + steps * (y1 - y0)).long().clamp(0, sem_seg.shape[0] - 1)
    columns = (x0 + steps * (x1 - x0)).long().clamp(0, sem_seg.shape[1] - 1)
    return sem_seg[rows[:, :, None], columns[:, None, :]]
