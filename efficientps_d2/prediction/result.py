"""What a predictor says of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, ROIMasks
from torch import Tensor

from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits
from efficientps_d2.modeling.fusion.stuff_scores import mean_probabilities
from efficientps_d2_runtime.result import PanopticResult, Segment


@dataclass(repr=False)
class Prediction(PanopticResult):
    """What a model says of one image, in the image's own size; tensors are on the CPU."""

    detections: Instances  # as ``instances``, but maybe with pred_mask_logits for pred_masks
    sem_seg_logits: Tensor | None = None  # (K, H, W) float32, on request
    # (N, M, M) float32 inside the boxes, on request; Detectron2's own mask heads give none
    mask_logits: Tensor | None = None

    @classmethod
    def of_output(cls, output: dict, names: Sequence[str], logits: bool = False) -> "Prediction":
        """Of a network's output for an image.

        Args:
            output: see :meth:`PanopticSegmentor.inference`.
            names: of the classes, by contiguous id.
            logits: also keep semantic logits and mask logits.
        """
        pan_seg, segments_info = output["panoptic_seg"]
        sem_seg = SemanticLogits.of(output["sem_seg"]) if "sem_seg" in output else None
        areas = torch.bincount(pan_seg.flatten()).tolist()
        stuff = {s["id"]: s["category_id"] for s in segments_info if "score" not in s}
        scores = {s["id"]: s["score"] for s in segments_info if "score" in s}
        if stuff:
            scores |= mean_probabilities(sem_seg, pan_seg, areas, stuff)
        segments = [
            Segment(
                segment["id"],
                class_id := segment["category_id"],
                names[class_id],
                segment["isthing"],
                float(scores[segment["id"]]),
                areas[segment["id"]],
            )
            for segment in segments_info
        ]
        instances = output["instances"].to("cpu")
        # Detectron2's own mask heads keep no logits.
        has_logits = instances.has("pred_mask_logits")
        mask_logits = instances.pred_mask_logits if logits and has_logits else None
        if has_logits and instances.has("pred_masks"):
            instances.remove("pred_mask_logits")
        return cls(
            pan_seg.cpu().numpy().astype(np.int32),
            segments,
            None if sem_seg is None else sem_seg.argmax().cpu().numpy().astype(np.uint8),
            instances,
            sem_seg.full().cpu() if logits and sem_seg is not None else None,
            mask_logits,
        )

    @cached_property
    def instances(self) -> Instances:
        """``pred_boxes``, ``scores``, ``pred_classes`` (contiguous ids), ``pred_masks`` (N, H, W).

        Masks, which may need much memory, are made when they are first asked for.
        """
        found = self.detections
        if found is None or found.has("pred_masks"):
            return found
        found = Instances(found.image_size, **found.get_fields())
        if found.has("pred_mask_logits"):
            masks = ROIMasks(found.pred_mask_logits.float().sigmoid())
            found.remove("pred_mask_logits")
            found.pred_masks = masks.to_bitmasks(found.pred_boxes, *found.image_size, 0.5).tensor
        else:  # of tiles
            ids = torch.tensor([s.id for s in self.segments if s.isthing], dtype=torch.int32)
            found.pred_masks = torch.from_numpy(self.panoptic_seg) == ids[:, None, None]
        return found

    def reduced(self, step: int) -> "Prediction":
        """Every ``step``-th row and column, for a drawing; areas stay those of all pixels."""
        size = self.panoptic_seg[::step, ::step].shape
        found = Instances(size)
        for name, value in self.detections.get_fields().items():
            if name == "pred_boxes":
                value = Boxes(value.tensor / step)
            elif name == "pred_masks":
                value = value[:, ::step, ::step]
            found.set(name, value)
        sem_seg = None if self.sem_seg is None else self.sem_seg[::step, ::step]
        pan_seg = np.ascontiguousarray(self.panoptic_seg[::step, ::step])
        return Prediction(pan_seg, self.segments, sem_seg, found)
