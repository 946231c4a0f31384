"""Test-time augmentation of panoptic output: scales and flips, then one fusion."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.data.transforms import HFlipTransform
from detectron2.layers import batched_nms
from detectron2.modeling import META_ARCH_REGISTRY, ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from efficientps_d2.modeling.meta_arch.panoptic_segmentor import PanopticSegmentor
from efficientps_d2.utils.resizing import ResizeTransform
from efficientps_d2_runtime.errors import InputError


class View(NamedTuple):
    """An image as the network sees it: resized to ``size`` (height, width), perhaps mirrored."""

    size: tuple[int, int]
    flip: bool


class PanopticTTA(nn.Module):
    """A :class:`PanopticSegmentor` that looks at every image in several sizes and mirrored.

    Semantic logits are averaged; boxes of all views go through one NMS, and the logits of their
    masks are averaged over the views; then comes the usual fusion. Views are seen one after the
    other and only sums are kept, so memory does not grow with their number.
    """

    def __init__(self, model: PanopticSegmentor, scales: Sequence[float], flip: bool, cfg: CfgNode):
        """
        Args:
            model: in evaluation mode.
            scales: factors of the size that the network is given.
            flip: also mirror every size.
            cfg: for the NMS threshold and the number of detections.
        """
        super().__init__()
        self.model = model
        self.scales, self.flips = scales, (False, True) if flip else (False,)
        self.nms_threshold = cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST
        self.max_detections = cfg.TEST.DETECTIONS_PER_IMAGE

    @classmethod
    def of_config(cls, cfg: CfgNode, model: nn.Module) -> "PanopticTTA":
        """With the scales and flip of ``TEST.AUG``, of a model that may be distributed.

        Raises:
            InputError: if the network or its images cannot be augmented.
        """
        model = getattr(model, "module", model)
        heads = getattr(model, "roi_heads", None)
        _require(cfg, type(model), getattr(heads, "mask_head", None))
        return cls(model, cfg.TEST.AUG.SCALES, cfg.TEST.AUG.FLIP, cfg)

    @staticmethod
    def require(cfg: CfgNode) -> None:
        """As :meth:`of_config`, before the network is built.

        Raises:
            InputError: see there; what a function builds is only known afterwards.
        """
        network = dict(META_ARCH_REGISTRY).get(cfg.MODEL.META_ARCHITECTURE)
        mask_head = dict(ROI_MASK_HEAD_REGISTRY).get(cfg.MODEL.ROI_MASK_HEAD.NAME)
        if isinstance(network, type) and isinstance(mask_head, type):
            _require(cfg, network, mask_head)

    def forward(self, batched_inputs: list[dict]) -> list[dict]:
        """As :meth:`PanopticSegmentor.inference`."""
        return [self._inference_one_image(inputs) for inputs in batched_inputs]

    def _inference_one_image(self, inputs: dict) -> dict:
        height, width = inputs["image"].shape[-2:]
        views = [
            View((max(1, round(height * scale)), max(1, round(width * scale))), flip)
            for scale, flip in itertools.product(self.scales, self.flips)
        ]
        instances, sem_seg = self._detect(inputs["image"], views)
        if len(instances):
            self._add_mask_logits(instances, inputs["image"], views)
        else:
            instances.pred_mask_logits = sem_seg.new_zeros(0, 1, 1)
        if self.model.gives_masks:
            instances.pred_masks = instances.pred_mask_logits.sigmoid()[:, None]
        return self.model.postprocess(instances, sem_seg, inputs)

    def _detect(self, image: Tensor, views: list[View]) -> tuple[Instances, Tensor]:
        """Boxes of all views, and (K, H, W) semantic logits, both at the size of ``image``."""
        height, width = image.shape[-2:]
        sem_seg, boxes, scores, classes = 0, [], [], []
        for view in views:
            with self._without_masks():
                (found,), (logits,) = self.model.inference(
                    [{"image": look(image, view)}], do_postprocess=False
                )
            logits = sem_seg_postprocess(logits.float(), view.size, height, width)
            sem_seg += logits.flip(-1) if view.flip else logits
            del logits
            boxes.append(from_view(found.pred_boxes.tensor, view, (height, width)))
            scores.append(found.scores)
            classes.append(found.pred_classes)
        boxes, scores, classes = torch.cat(boxes), torch.cat(scores), torch.cat(classes)
        keep = batched_nms(boxes, scores, classes, self.nms_threshold)
        if self.max_detections >= 0:
            keep = keep[: self.max_detections]
        instances = Instances(
            (height, width),
            pred_boxes=Boxes(boxes[keep]),
            scores=scores[keep],
            pred_classes=classes[keep],
        )
        return instances, sem_seg / len(views)

    def _add_mask_logits(self, instances: Instances, image: Tensor, views: list[View]) -> None:
        logits = 0
        for view in views:
            images = self.model.preprocess_image([{"image": look(image, view)}])
            boxes = to_view(instances.pred_boxes.tensor, view, instances.image_size)
            given = Instances(
                view.size, pred_boxes=Boxes(boxes), pred_classes=instances.pred_classes
            )
            features = self.model.backbone(images.tensor)
            (given,) = self.model.roi_heads.forward_with_given_boxes(features, [given])
            own = given.pred_mask_logits
            logits += own.flip(-1) if view.flip else own
        instances.pred_mask_logits = logits / len(views)

    @contextlib.contextmanager
    def _without_masks(self) -> Iterator[None]:
        """Masks are only wanted of the boxes that remain."""
        heads = self.model.roi_heads
        before, heads.mask_on = heads.mask_on, False
        try:
            yield
        finally:
            heads.mask_on = before


def _require(cfg: CfgNode, network: type, mask_head: object) -> None:
    if not issubclass(network, PanopticSegmentor):
        name = network.__name__
        raise InputError(
            f"Test-time augmentation (TEST.AUG.ENABLED) is not for MODEL.META_ARCHITECTURE {name}: "
            f"it needs RoI heads, which {name} lacks; leave it out."
        )
    if not getattr(mask_head, "keeps_logits", False):
        raise InputError(
            "Test-time augmentation (TEST.AUG.ENABLED) needs a mask head that keeps its logits; "
            "set MODEL.ROI_MASK_HEAD.NAME SeparableConvMaskHead or ConvMaskHead, or leave it out."
        )
    if cfg.INPUT.TURN_SCANS and cfg.TEST.AUG.FLIP:
        raise InputError(
            "TEST.AUG.FLIP would mirror scans without their coordinates; set it False."
        )


def look(image: Tensor, view: View) -> Tensor:
    """A (C, H, W) uint8 or float32 image as a view shows it."""
    pixels = image.permute(1, 2, 0).cpu().numpy()
    pixels = ResizeTransform(*image.shape[-2:], *view.size).apply_image(pixels)
    if view.flip:
        pixels = HFlipTransform(view.size[1]).apply_image(pixels)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def from_view(boxes: Tensor, view: View, size: tuple[int, int]) -> Tensor:
    """(N, 4) boxes of a view at the (height, width) of the image."""
    boxes = _mirror(boxes, view)
    (height, width), (h, w) = view.size, size
    return boxes * boxes.new_tensor([w / width, h / height, w / width, h / height])


def to_view(boxes: Tensor, view: View, size: tuple[int, int]) -> Tensor:
    """The inverse of :func:`from_view`."""
    (height, width), (h, w) = view.size, size
    boxes = boxes * boxes.new_tensor([width / w, height / h, width / w, height / h])
    return _mirror(boxes, view)


def _mirror(boxes: Tensor, view: View) -> Tensor:
    if not view.flip:
        return boxes
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return torch.stack([view.size[1] - x1, y0, view.size[1] - x0, y1], dim=1)
