"""Two maps of segment ids over each other, and whether ids and segments fit together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

VOID = 0
OFFSET = 256**3  # of segment ids, which are three bytes


class MismatchError(ValueError):
    """A map of ids and its list of segments contradict each other; ``what`` is that map."""

    def __init__(self, what: str, problem: str):
        super().__init__(f"{what} {problem}")
        self.what = what


class Overlaps(NamedTuple):
    """Pixels of each pair (true id, predicted id) that occurs, and areas of all ids, void too."""

    pairs: dict[tuple[int, int], int]
    gt: dict[int, int]
    prediction: dict[int, int]


def count_overlaps(gt: np.ndarray, prediction: np.ndarray) -> Overlaps:
    """The histogram of two (H, W) maps of segment ids below 256**3."""
    gt, prediction = gt.ravel(), prediction.ravel()
    # Neighbours mostly have the same ids: runs are far fewer than pixels, and cheap to sort.
    changes = (gt[1:] != gt[:-1]) | (prediction[1:] != prediction[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=len(gt))
    keys = gt[starts].astype(np.int64) * OFFSET + prediction[starts]
    keys, which = np.unique(keys, return_inverse=True)
    counts = np.bincount(which, weights=lengths).astype(np.int64).tolist()
    overlaps = Overlaps({}, {}, {})
    for key, count in zip(keys.tolist(), counts, strict=True):
        pair = divmod(key, OFFSET)
        overlaps.pairs[pair] = count
        for areas, id_ in zip(overlaps[1:], pair, strict=True):
            areas[id_] = areas.get(id_, 0) + count
    return overlaps


def segments_by_id(
    segments: Sequence[dict], areas: dict[int, int], num_classes: int, what: str
) -> dict[int, dict]:
    """Segments by id, after checking them against the areas of the ids in their map.

    Raises:
        MismatchError: as :meth:`PanopticSums.add_image` does; ``what`` names the map.
    """
    by_id = {segment["id"]: segment for segment in segments}
    if VOID in by_id:
        raise MismatchError(what, f"has a segment with the id {VOID}, which is void")
    different = (by_id.keys() ^ areas.keys()) - {VOID}
    if different or len(by_id) < len(segments):
        raise MismatchError(
            what,
            f"has the segments {sorted(different)[:5]} only in its map or only in its list, "
            "or one of them twice",
        )
    for segment in segments:
        area = areas[segment["id"]]
        if segment.get("area", area) != area:
            raise MismatchError(
                what,
                f"has a segment {segment['id']} of {area} pixels whose area is said to be "
                f"{segment['area']}",
            )
    unknown = [s for s in segments if s["category_id"] not in range(num_classes)]
    if unknown:
        raise MismatchError(what, f"has a segment of the unknown class {unknown[0]['category_id']}")
    return by_id
