"""What a network in one file says of an image, in arrays."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efficientps_d2_runtime.result import PanopticResult


@dataclass(repr=False)
class Prediction(PanopticResult):
    """What a network says of one image, in the image's own size.

    Instances are what the box head found, by descending score; a panoptic map may leave some out.
    """

    boxes: np.ndarray  # (N, 4) float32: x0, y0, x1, y1 in pixels
    scores: np.ndarray  # (N,) float32
    classes: np.ndarray  # (N,) int64 contiguous class ids
    mask_logits: np.ndarray  # (N, M, M) float32, inside the boxes

    @cached_property
    def masks(self) -> np.ndarray:
        """(N, H, W) bool: where the probability of the object is 0.5 or more.

        Probabilities are interpolated between the centres of the cells of its box, as Detectron2
        does.
        """
        masks = np.zeros((len(self.boxes), *self.panoptic_seg.shape), dtype=bool)
        for mask, (x0, y0, x1, y1), logits in zip(masks, self.boxes, self.mask_logits, strict=True):
            rows, down = _weights(y0, y1, mask.shape[0], logits.shape[0])
            columns, across = _weights(x0, x1, mask.shape[1], logits.shape[1])
            probabilities = np.exp(-np.logaddexp(0, -logits))
            mask[rows, columns] = down @ probabilities @ across.T >= 0.5
        return masks


def _weights(low: float, high: float, size: int, cells: int) -> tuple[slice, np.ndarray]:
    """The pixels of a side of a box, and how much of each cell (P, cells) each of them gets."""
    first, last = max(int(np.floor(low)), 0), min(int(np.ceil(high)), size)
    places = (np.arange(first, last) + 0.5 - low) / (high - low) * cells - 0.5
    apart = np.abs(places[:, None] - np.arange(cells))
    return slice(first, last), np.clip(1 - apart, 0, None).astype(np.float32)
