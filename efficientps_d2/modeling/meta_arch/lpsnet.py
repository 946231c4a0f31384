"""A one-stage network in the style of LPSNet (Hong et al., CVPR 2021)."""

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch.semantic_seg import SemanticSegmentor
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor

from efficientps_d2.modeling.fusion.build import require_fusion
from efficientps_d2.modeling.fusion.dense_boxes import dense_box_fusion
from efficientps_d2.modeling.instance_heads.crowd import split_crowd
from efficientps_d2.modeling.instance_heads.dense_boxes import (
    NOBODY,
    DenseBoxHead,
    dense_box_losses,
)
from efficientps_d2.modeling.meta_arch.panoptic_segmentor import (
    output_size,
    padded_labels,
    ready_to_build,
)
from efficientps_d2.modeling.semantic_heads.base import STRIDE, every_fourth

UNLIMITED = 10**6  # instances


@META_ARCH_REGISTRY.register()
class LPSNetStyle(SemanticSegmentor):
    """A semantic head and a box at each pixel of an augmented pyramid, merged without parameters.

    This is a reconstruction from the abstract of the paper, the only part that is public: losses,
    towers and the way the pyramid is augmented are ours, and no number of the paper applies.
    """

    @configurable
    def __init__(
        self,
        *,
        box_head: DenseBoxHead,
        thing_class_ids: list[int],
        fusion: dict,
        box_loss_weight: float,
        centerness_loss_weight: float,
        channels_last: bool = False,
        **kwargs,
    ):
        """
        Args:
            box_head: takes the features that the semantic head takes.
            thing_class_ids: contiguous id of each class of things.
            fusion: thresholds of :func:`dense_box_fusion`.
            box_loss_weight, centerness_loss_weight: factors of the losses.
            channels_last: memory format of weights and images; only speed depends on it.

        Other arguments are those of :class:`SemanticSegmentor`.
        """
        super().__init__(**kwargs)
        self.box_head = box_head
        self.thing_class_ids = list(thing_class_ids)
        self.fusion = fusion
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)
        self.loss_weights = {
            "loss_box_reg": box_loss_weight,
            "loss_centerness": centerness_loss_weight,
        }

    @classmethod
    def from_config(cls, cfg):
        cfg = ready_to_build(cfg)
        options, combine = cfg.MODEL.LPSNET, cfg.MODEL.PANOPTIC_FPN.COMBINE
        detections = cfg.TEST.DETECTIONS_PER_IMAGE
        require_fusion(combine)  # its own is another, but a wrong name is a mistake
        parts = super().from_config(cfg)
        return {
            **parts,
            "box_head": DenseBoxHead(cfg, parts["backbone"].output_shape()),
            "thing_class_ids": cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS,
            "fusion": {
                "seed_threshold": combine.INSTANCES_CONFIDENCE_THRESH,
                "join_threshold": options.JOIN_THRESH,
                "stuff_area_limit": combine.STUFF_AREA_LIMIT,
                "max_instances": detections if detections > 0 else UNLIMITED,
            },
            "channels_last": cfg.MODEL.EFFICIENTPS.CHANNELS_LAST,
            "box_loss_weight": options.BOX_LOSS_WEIGHT,
            "centerness_loss_weight": options.CENTERNESS_LOSS_WEIGHT,
        }

    def forward(self, batched_inputs: list[dict]):
        """Losses in training, otherwise outputs as of :meth:`PanopticSegmentor.inference`.

        ``instances`` have the masks of the panoptic result, and no ``pred_mask_logits``.
        """
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        boxes, centerness = self.box_head(features)
        if self.training:
            return self._losses(batched_inputs, features, boxes, centerness)
        sem_seg, _ = self.sem_seg_head(features, None)
        return [
            self._postprocess(*result)
            for result in zip(
                sem_seg,
                boxes,
                centerness.sigmoid(),
                images.image_sizes,
                batched_inputs,
                strict=True,
            )
        ]

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise and pad, into the model's memory format."""
        images = [
            (x["image"].to(self.device) - self.pixel_mean) / self.pixel_std for x in batched_inputs
        ]
        backbone = self.backbone
        images = ImageList.from_tensors(
            images, backbone.size_divisibility, padding_constraints=backbone.padding_constraints
        )
        images.tensor = images.tensor.contiguous(memory_format=self.memory_format)
        return images

    def _losses(self, batched_inputs, features, boxes: Tensor, centerness: Tensor) -> dict:
        _, losses = self.sem_seg_head(features, padded_labels(self, batched_inputs))
        things = [split_crowd(x["instances"].to(self.device))[0] for x in batched_inputs]
        owners = [owners_of_cells(targets) for targets in things]
        for name, loss in dense_box_losses(boxes, centerness, owners, things).items():
            losses[name] = loss * self.loss_weights[name]
        return losses

    def _postprocess(
        self,
        sem_seg: Tensor,
        boxes: Tensor,
        centerness: Tensor,
        image_size: tuple[int, int],
        inputs: dict,
    ) -> dict:
        height, width = output_size(image_size, inputs)
        sem_seg = sem_seg_postprocess(sem_seg, image_size, height, width)
        rows, columns = (-(-side // STRIDE) for side in image_size)  # less the padding
        factors = height / image_size[0], width / image_size[1]
        scale = boxes.new_tensor([factors[1], factors[0]] * 2)[:, None, None]
        instances, panoptic_seg = dense_box_fusion(
            sem_seg,
            boxes[:, :rows, :columns] * scale,
            centerness[:rows, :columns],
            cell=(STRIDE * factors[0], STRIDE * factors[1]),
            thing_class_ids=self.thing_class_ids,
            **self.fusion,
        )
        instances.pred_boxes.clip((height, width))
        thing_ids = torch.as_tensor(self.thing_class_ids, device=self.device)
        instances.pred_classes = thing_ids[instances.pred_classes]
        return {"sem_seg": sem_seg, "instances": instances, "panoptic_seg": panoptic_seg}


def owners_of_cells(instances: Instances) -> Tensor:
    """(H / 4, W / 4) index of the instance at the centre of each cell, ``NOBODY`` elsewhere."""
    masks = every_fourth(instances.gt_masks.tensor)
    owner = torch.full(masks.shape[1:], NOBODY, dtype=torch.int64, device=masks.device)
    for index, mask in enumerate(masks):
        owner[mask] = index
    return owner
