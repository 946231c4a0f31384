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
        """The classes that were found, with the number of their segments, and scores."""
        scores: dict[str, list[float]] = {}
        for segment in self.segments:
            scores.setdefault(segment.name, []).append(segment.score)
        return listed([_told(name, found) for name, found in scores.items()]) or "nothing"


def _told(name: str, scores: list[float]) -> str:
    """Of a class: "car 0.75", or "3 car 0.75-0.90"."""
    if len(scores) == 1:
        return f"{name} {scores[0]:.2f}"
    return f"{len(scores)} {name} {min(scores):.2f}-{max(scores):.2f}"


def listed(names: Sequence[str], most: int = LISTED) -> str:
    """The first names, in one line."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
