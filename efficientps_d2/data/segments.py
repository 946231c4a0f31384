"""Segments of a panoptic map: where they are and how large."""

from typing import NamedTuple

import numpy as np


class Segments(NamedTuple):
    """The segments of a panoptic map, by ascending id; sizes in pixels."""

    ids: np.ndarray  # (N,) int64
    areas: np.ndarray  # (N,) int64
    boxes: np.ndarray  # (N, 4) int64: x, y, width, height


def measure_segments(pan_seg: np.ndarray) -> Segments:
    """Ids, areas and boxes of an (H, W) map of segment ids, void (0) included."""
    height, width = pan_seg.shape
    # Runs of equal ids within rows: far fewer than pixels, so that sorting them is cheap.
    changes = np.ones((height, width), dtype=bool)
    np.not_equal(pan_seg[:, 1:], pan_seg[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=height * width)
    ids, which = np.unique(pan_seg.ravel()[starts], return_inverse=True)
    y, x0 = np.divmod(starts, width)
    low = np.full((len(ids), 2), max(height, width))
    high = np.zeros((len(ids), 2), dtype=np.int64)
    np.minimum.at(low, which, np.stack([x0, y], axis=1))
    np.maximum.at(high, which, np.stack([x0 + lengths, y + 1], axis=1))
    areas = np.bincount(which, weights=lengths).astype(np.int64)
    return Segments(ids.astype(np.int64), areas, np.concatenate([low, high - low], axis=1))


def resize_nearest(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) ids in another height and width: each pixel takes the one at its centre."""
    if ids.shape == size:
        return ids
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(size, ids.shape, strict=True)
    )
    return ids[rows[:, None], columns]
