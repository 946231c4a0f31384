"""The meta-architecture: Panoptic FPN's training, EfficientPS's inference."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch.panoptic_fpn import (
    PanopticFPN,
    combine_semantic_and_instance_outputs,
)
from detectron2.modeling.postprocessing import detector_postprocess, sem_seg_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.modeling.fusion.adaptive import adaptive_panoptic_fusion
from efficientps_d2.modeling.fusion.log_odds import log_odds_panoptic_fusion
from efficientps_d2.utils.errors import InputError

METHODS = ("adaptive", "log_odds", "heuristic")


@META_ARCH_REGISTRY.register()
class EfficientPS(PanopticFPN):
    """EfficientPS (:paper:`EfficientPS`, Mohan & Valada, IJCV 2021).

    Training is that of :class:`PanopticFPN`. In inference the outputs of both heads are fused by
    :func:`adaptive_panoptic_fusion`, and the detector's classes are mapped to contiguous ids.
    """

    @configurable
    def __init__(
        self,
        *,
        thing_class_ids: Sequence[int],
        combine_method: str = "adaptive",
        mask_logit_scale: float = 1.0,
        confine_to_box: bool = True,
        semantic_weight: float = 0.3,
        channels_last: bool = False,
        **kwargs,
    ):
        """
        Args:
            thing_class_ids: contiguous id of each class of the detector.
            combine_method: "adaptive" (paper), "log_odds", or "heuristic" for the merge of
                Panoptic FPN.
            mask_logit_scale, confine_to_box: see :func:`adaptive_panoptic_fusion`.
            semantic_weight: see :func:`log_odds_panoptic_fusion`.
            channels_last: memory format of weights and images; only speed depends on it.

        Other arguments are those of :class:`PanopticFPN`.
        """
        super().__init__(**kwargs)
        if combine_method not in METHODS:
            raise InputError(
                f"MODEL.PANOPTIC_FPN.COMBINE.METHOD is {combine_method!r}; use one of "
                f"{', '.join(METHODS)}."
            )
        self.thing_class_ids = list(thing_class_ids)
        self.combine_method = combine_method
        self.mask_logit_scale = mask_logit_scale
        self.confine_to_box = confine_to_box
        self.semantic_weight = semantic_weight
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    @classmethod
    def from_config(cls, cfg: CfgNode):
        if cfg.AUTO:
            raise InputError(
                f'{cfg.AUTO[0]} is "auto", which train_net.py replaces by a value for its data; '
                "load the config.yaml that it left, or give a value."
            )
        if not cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS:  # saved configs need no data set
            cfg = with_class_counts(cfg)
        combine = cfg.MODEL.PANOPTIC_FPN.COMBINE
        of_adaptive = combine.MASK_LOGIT_SCALE != 1 or not combine.CONFINE_TO_BOX
        if combine.METHOD == "log_odds" and of_adaptive:
            raise InputError(
                "MODEL.PANOPTIC_FPN.COMBINE: MASK_LOGIT_SCALE and CONFINE_TO_BOX are for METHOD "
                '"adaptive"; with "log_odds" leave them at 1.0 and True.'
            )
        return {
            **super().from_config(cfg),
            "thing_class_ids": cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS,
            "combine_method": combine.METHOD,
            "mask_logit_scale": combine.MASK_LOGIT_SCALE,
            "confine_to_box": combine.CONFINE_TO_BOX,
            "semantic_weight": combine.SEMANTIC_WEIGHT,
            "channels_last": cfg.MODEL.EFFICIENTPS.CHANNELS_LAST,
        }

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise and pad, as in :class:`GeneralizedRCNN`, into the model's memory format."""
        images = super().preprocess_image(batched_inputs)
        images.tensor = images.tensor.contiguous(memory_format=self.memory_format)
        return images

    def inference(self, batched_inputs: list[dict], do_postprocess: bool = True):
        """
        Args:
            batched_inputs: dicts with ``image`` (C, H, W) and, optionally, the output size
                ``height`` and ``width``.
            do_postprocess: resize to the output size and fuse.

        Returns:
            A dict for each image: ``sem_seg`` (K, height, width) float32 logits; ``instances``
            with ``pred_boxes``, ``scores``, ``pred_classes`` (contiguous ids), ``pred_masks``
            (N, height, width) bool and ``pred_mask_logits`` (N, M, M); ``panoptic_seg``, see
            :func:`adaptive_panoptic_fusion`. Without post-processing, the raw instances (classes
            0..things-1) and semantic logits at the padded size.
        """
        detections, sem_seg_logits = super().inference(batched_inputs, do_postprocess=False)
        if not do_postprocess:
            return detections, sem_seg_logits
        return [
            self.postprocess(*result)
            for result in zip(detections, sem_seg_logits, batched_inputs, strict=True)
        ]

    def postprocess(self, instances: Instances, sem_seg: Tensor, inputs: dict) -> dict:
        """Outputs of one image; ``sem_seg`` covers its padding too, ``instances`` do not."""
        image_size = instances.image_size
        height = inputs.get("height", image_size[0])
        width = inputs.get("width", image_size[1])
        # Crops the padding first, then resizes.
        sem_seg = sem_seg_postprocess(sem_seg, image_size, height, width)
        instances = detector_postprocess(instances, height, width)
        panoptic_seg = self.fuse(instances, sem_seg)
        thing_ids = torch.as_tensor(self.thing_class_ids, device=instances.pred_classes.device)
        instances.pred_classes = thing_ids[instances.pred_classes]
        return {"sem_seg": sem_seg, "instances": instances, "panoptic_seg": panoptic_seg}

    def fuse(self, instances: Instances, sem_seg: Tensor) -> tuple[Tensor, list[dict]]:
        """``panoptic_seg`` of both heads' outputs, by the rule ``combine_method``."""
        if self.combine_method == "heuristic":
            return self.heuristic_merge(instances, sem_seg)
        options = {
            "thing_class_ids": self.thing_class_ids,
            "score_threshold": self.combine_instances_score_thresh,
            "overlap_threshold": self.combine_overlap_thresh,
            "stuff_area_limit": self.combine_stuff_area_thresh,
        }
        if self.combine_method == "log_odds":
            options["semantic_weight"] = self.semantic_weight
            return log_odds_panoptic_fusion(instances, sem_seg, **options)
        return adaptive_panoptic_fusion(
            instances,
            sem_seg,
            mask_logit_scale=self.mask_logit_scale,
            confine_to_box=self.confine_to_box,
            **options,
        )

    def heuristic_merge(self, instances: Instances, sem_seg: Tensor) -> tuple[Tensor, list[dict]]:
        """Detectron2's merge, which wants label 0 for all things and stuff from 1 on."""
        stuff_ids = [k for k in range(len(sem_seg)) if k not in set(self.thing_class_ids)]
        to_label = torch.zeros(len(sem_seg), dtype=torch.long, device=sem_seg.device)
        to_label[stuff_ids] = torch.arange(1, len(stuff_ids) + 1, device=sem_seg.device)
        panoptic_seg, segments_info = combine_semantic_and_instance_outputs(
            instances,
            to_label[sem_seg.argmax(dim=0)],
            self.combine_overlap_thresh,
            self.combine_stuff_area_thresh,
            self.combine_instances_score_thresh,
        )
        for segment in segments_info:
            label = segment["category_id"]
            ids = self.thing_class_ids if segment["isthing"] else [None, *stuff_ids]
            segment["category_id"] = ids[label]
        return panoptic_seg, segments_info
