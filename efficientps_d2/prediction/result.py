"""What a predictor says of an image."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, ROIMasks
from torch import Tensor

from efficientps_d2_runtime.result import PanopticResult


@dataclass(repr=False)
class Prediction(PanopticResult):
    """What a model says of one image, in the image's own size; tensors are on the CPU."""

    detections: Instances  # as ``instances``, but maybe with pred_mask_logits for pred_masks
    sem_seg_logits: Tensor | None = None  # (K, H, W) float32, on request
    # (N, M, M) float32 inside the boxes, on request; Detectron2's own mask heads give none
    mask_logits: Tensor | None = None

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
