"""What a network says of an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LISTED = 20  # classes or segments, in one line


@dataclass
class Segment:
    """A segment of a panoptic map."""

    id: int  # in the map, from 1
    category_id: int  # contiguous class id
    name: str  # of the class
    isthing: bool
    score: float  # of a thing its detection's, of stuff the mean semantic probability
    area: int  # pixels


@dataclass(repr=False)
class PanopticResult:
    """What all networks say of one image, in the image's own size."""

    panoptic_seg: np.ndarray  # (H, W) int32 segment ids, 0 for void
    segments: list[Segment]
    sem_seg: np.ndarray | None  # (H, W) uint8 class ids; Mask R-CNN gives none

    def __repr__(self) -> str:
        height, width = self.panoptic_seg.shape
        return f"<{type(self).__name__}, {width} x {height} pixels: {self.summary()}>"

    def summary(self) -> str:
        """Names and scores of the first segments."""
        return listed([f"{s.name} {s.score:.2f}" for s in self.segments]) or "nothing"


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """The first names, in one line."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
