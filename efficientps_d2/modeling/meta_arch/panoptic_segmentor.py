"""The base of all panoptic networks: Panoptic FPN's training, any fusion, contiguous class ids."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.meta_arch.panoptic_fpn import PanopticFPN
from detectron2.modeling.postprocessing import detector_postprocess, sem_seg_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.modeling.cpu_sampling import sample_rois_fast
from efficientps_d2.modeling.fusion.build import Fusion, build_fusion
from efficientps_d2.modeling.fusion.semantic_logits import ResizedLogits, SemanticLogits
from efficientps_d2_runtime.errors import InputError

BY_LOGITS = ("adaptive", "log_odds", "upsnet")  # fusions that take ``pred_mask_logits``


def ready_to_build(cfg: CfgNode) -> CfgNode:
    """The config with the classes of its datasets, which a saved one has already.

    Raises:
        InputError: if a value is still "auto".
    """
    if cfg.AUTO:
        raise InputError(
            f'{cfg.AUTO[0]} is "auto", which a training replaces by a value for its data; '
            "load the config.yaml that it left, or give a value."
        )
    return cfg if cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS else with_class_counts(cfg)


def padded_labels(model: nn.Module, batched_inputs: list[dict]) -> Tensor:
    """(N, H, W) ground truth ``sem_seg`` at the size of the padded images."""
    return ImageList.from_tensors(
        [x["sem_seg"].to(model.device) for x in batched_inputs],
        model.backbone.size_divisibility,
        model.sem_seg_head.ignore_value,
        model.backbone.padding_constraints,
    ).tensor


def output_size(image_size: tuple[int, int], inputs: dict) -> tuple[int, int]:
    """Height and width of the output; by default those of the network's input."""
    height, width = image_size
    return inputs.get("height", height), inputs.get("width", width)


@META_ARCH_REGISTRY.register()
class PanopticSegmentor(PanopticFPN):
    """A backbone, instance heads and a semantic head, whose outputs a rule fuses.

    Training is that of :class:`PanopticFPN`. With Detectron2's heads and ``METHOD "heuristic"`` it
    is Panoptic FPN, but for the semantic head: that has a channel for each thing class, where
    Panoptic FPN has one for all things. Networks of other papers derive from it.

    With ``light_outputs`` inference takes less memory and time: ``sem_seg`` is
    :class:`SemanticLogits`, and instances have no ``pred_masks``, unless ``paste_masks`` is True or
    the fusion needs them. It asks the semantic head for ``layers`` alone, and not for
    :meth:`postprocess`: a class that overrides that sets ``has_light_outputs`` False.
    """

    has_light_outputs = True
    light_outputs = False
    paste_masks = False

    @configurable
    def __init__(
        self,
        *,
        thing_class_ids: Sequence[int],
        fusion: Fusion,
        fuses_masks: bool = True,
        channels_last: bool = False,
        **kwargs,
    ):
        """
        Args:
            thing_class_ids: contiguous id of each class of the detector.
            fusion: a function such as :func:`adaptive_panoptic_fusion`.
            fuses_masks: whether it takes ``pred_masks``, not ``pred_mask_logits``.
            channels_last: memory format of weights and images; only speed depends on it.

        Other arguments are those of :class:`PanopticFPN`.
        """
        super().__init__(**kwargs)
        self.thing_class_ids = list(thing_class_ids)
        self.fusion, self.fuses_masks = fusion, fuses_masks
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)
        sample_rois_fast(self)

    @classmethod
    def from_config(cls, cfg: CfgNode):
        cfg = ready_to_build(cfg)
        if not cfg.MODEL.MASK_ON:
            raise InputError(
                f"MODEL.MASK_ON is False, but {cfg.MODEL.META_ARCHITECTURE} needs masks for its "
                "panoptic result; set it True."
            )
        parts = super().from_config(cfg)
        method = cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD
        mask_head = getattr(parts["roi_heads"], "mask_head", None)
        if method in BY_LOGITS and not getattr(mask_head, "keeps_logits", False):
            raise InputError(
                f"MODEL.PANOPTIC_FPN.COMBINE.METHOD {method} needs a mask head that keeps its "
                "logits; set MODEL.ROI_MASK_HEAD.NAME ConvMaskHead or SeparableConvMaskHead, or "
                "METHOD heuristic."
            )
        return {
            **parts,
            "thing_class_ids": cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS,
            "fusion": build_fusion(cfg.MODEL.PANOPTIC_FPN.COMBINE),
            "fuses_masks": method not in BY_LOGITS,
            "channels_last": cfg.MODEL.EFFICIENTPS.CHANNELS_LAST,
        }

    @property
    def gives_masks(self) -> bool:
        """Whether instances of the output have ``pred_masks``."""
        return self.paste_masks or self.fuses_masks or not self.light_outputs

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
        if self.light_outputs and do_postprocess:
            return self._light_inference(batched_inputs)
        detections, sem_seg_logits = super().inference(batched_inputs, do_postprocess=False)
        if not do_postprocess:
            return detections, sem_seg_logits
        return [
            self.postprocess(*result)
            for result in zip(detections, sem_seg_logits, batched_inputs, strict=True)
        ]

    def postprocess(self, instances: Instances, sem_seg: Tensor, inputs: dict) -> dict:
        """Outputs of one image; ``sem_seg`` covers its padding too, ``instances`` do not."""
        height, width = output_size(instances.image_size, inputs)
        sem_seg = self.resize_sem_seg(sem_seg, instances.image_size, height, width)
        return self._fused(instances, sem_seg, height, width)

    def _fused(
        self, instances: Instances, sem_seg: Tensor | SemanticLogits, height: int, width: int
    ) -> dict:
        instances = detector_postprocess(instances, height, width)
        panoptic_seg = self.fusion(instances, sem_seg, thing_class_ids=self.thing_class_ids)
        thing_ids = torch.as_tensor(self.thing_class_ids, device=instances.pred_classes.device)
        instances.pred_classes = thing_ids[instances.pred_classes]
        return {"sem_seg": sem_seg, "instances": instances, "panoptic_seg": panoptic_seg}

    def _light_inference(self, batched_inputs: list[dict]) -> list[dict]:
        """As :meth:`inference`, without tensors of all classes, or of all instances, and pixels."""
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        logits = self.sem_seg_head.layers(features)
        proposals, _ = self.proposal_generator(images, features, None)
        detections, _ = self.roi_heads(images, features, proposals, None)
        outputs = []
        for instances, of_image, inputs in zip(detections, logits, batched_inputs, strict=True):
            size = output_size(instances.image_size, inputs)
            stride = self.sem_seg_head.common_stride
            sem_seg = SemanticLogits(of_image, instances.image_size, stride)
            if size != instances.image_size:  # resized twice, as otherwise
                sem_seg = ResizedLogits(sem_seg, size)
            if not self.gives_masks:
                instances.remove("pred_masks")
            outputs.append(self._fused(instances, sem_seg.enlarged_if_small(), *size))
        return outputs

    def resize_sem_seg(
        self, sem_seg: Tensor, image_size: tuple[int, int], height: int, width: int
    ) -> Tensor:
        """(K, height, width) logits of the part of ``sem_seg`` that is no padding."""
        return sem_seg_postprocess(sem_seg, image_size, height, width)
