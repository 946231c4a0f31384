"""What is wrong with a panoptic prediction, pixel by pixel and class by class, for reports."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from efficientps_d2.evaluation.overlaps import OFFSET, VOID, count_overlaps, segments_by_id
from efficientps_d2.evaluation.panoptic_metrics import Match

CORRECT, BOUNDARY, WRONG_CLASS, MISSED, EXTRA, UNLABELED = KINDS = (
    "correct",
    "boundary",
    "wrong class",
    "missed",
    "extra",
    "unlabeled",
)
MEANING = {
    CORRECT: "in the segment that matches the true one",
    BOUNDARY: "wrong, but near the edge of a segment that was found",
    WRONG_CLASS: "predicted as another class",
    MISSED: "in an object that was not found, or outside the mask that was found for it",
    EXTRA: "under a predicted object that matches nothing",
    UNLABELED: "void or crowd in the ground truth; not counted",
}
EDGE = 0.005  # of the diagonal: how far "beside" reaches


class ImageErrors(NamedTuple):
    """Of one image, or summed over many."""

    pixels: dict[str, int]  # of each kind
    confusion: np.ndarray  # (K, K + 1) pixels by true and predicted class; the last is none


def error_kinds(
    true_segments: Sequence[dict],
    predicted_segments: Sequence[dict],
    matches: Sequence[Match],
    thing_ids: Sequence[int],
) -> Callable[[int, int, int], str]:
    """The kind of error of a pixel by its true id, its predicted id and whether an edge is near.

    Args:
        true_segments: ``id``, ``category_id`` and, optionally, ``iscrowd``.
        predicted_segments: ``id`` and ``category_id`` in the same numbering.
        matches: what :meth:`PanopticSums.add_image` said of these segments.
        thing_ids: the classes of objects.
    """
    found = {match.true_id: match.predicted_id for match in matches if match.kind == "tp"}
    extra = {match.predicted_id for match in matches if match.kind == "fp"}
    true = {s["id"]: s["category_id"] for s in true_segments if not s.get("iscrowd")}
    predicted = {s["id"]: s["category_id"] for s in predicted_segments}

    def kind(true_id: int, predicted_id: int, near_edge: int) -> str:
        if true_id not in true:
            return UNLABELED
        class_id, matches_nothing = true[true_id], predicted_id in extra
        other_class = predicted.get(predicted_id, class_id) != class_id
        if true_id not in found:
            counts = matches_nothing or class_id not in thing_ids
            return WRONG_CLASS if other_class and counts else MISSED
        if found[true_id] == predicted_id:
            return CORRECT
        if matches_nothing:
            return EXTRA
        if near_edge:
            return BOUNDARY
        return WRONG_CLASS if other_class else MISSED

    return kind


def near_edges(gt: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels within ``EDGE`` of the diagonal of where the segment ids change."""
    same = np.ones(gt.shape, dtype=np.uint8)
    for a, b in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        change = gt[a] != gt[b]
        same[a][change] = same[b][change] = 0
    if same.all():
        return np.zeros(gt.shape, dtype=bool)
    reach = max(1.0, EDGE * float(np.hypot(*gt.shape)))
    return cv2.distanceTransform(same, cv2.DIST_L2, 3) <= reach


def _with_edges(gt: np.ndarray) -> np.ndarray:
    """Twice the segment ids, plus 1 near an edge, int64: so that one histogram has both."""
    return gt.astype(np.int64) * 2 + near_edges(gt)


def error_map(gt: np.ndarray, prediction: np.ndarray, kind: Callable) -> np.ndarray:
    """(H, W) uint8 indices into ``KINDS`` for two (H, W) maps of segment ids."""
    keys = _with_edges(gt) * OFFSET + prediction
    keys, where = np.unique(keys, return_inverse=True)
    kinds = []
    for key in keys.tolist():
        code, predicted_id = divmod(key, OFFSET)
        true_id, near_edge = divmod(code, 2)
        kinds.append(KINDS.index(kind(true_id, predicted_id, near_edge)))
    return np.array(kinds, dtype=np.uint8)[where.reshape(gt.shape)]


def count_errors(
    gt: np.ndarray,
    true_segments: Sequence[dict],
    prediction: np.ndarray,
    predicted_segments: Sequence[dict],
    matches: Sequence[Match],
    is_thing: Sequence[bool],
) -> ImageErrors:
    """Count the pixels of each kind and of each pair of classes; void and crowds stay out.

    Raises:
        ValueError: if the ids of a map are not those of its segments.
    """
    num_classes = len(is_thing)
    things = np.flatnonzero(is_thing).tolist()
    kind = error_kinds(true_segments, predicted_segments, matches, things)
    overlaps = count_overlaps(_with_edges(gt), prediction)
    true_areas: dict[int, int] = {}
    for code, area in overlaps.gt.items():
        true_areas[code // 2] = true_areas.get(code // 2, 0) + area
    true = segments_by_id(true_segments, true_areas, num_classes, "the ground truth")
    predicted = segments_by_id(
        predicted_segments, overlaps.prediction, num_classes, "the prediction"
    )
    pixels = dict.fromkeys(KINDS, 0)
    confusion = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    for (code, predicted_id), count in overlaps.pairs.items():
        true_id, near_edge = divmod(code, 2)
        pixels[kind(true_id, predicted_id, near_edge)] += count
        if true_id != VOID and not true[true_id].get("iscrowd"):
            column = predicted[predicted_id]["category_id"] if predicted_id != VOID else num_classes
            confusion[true[true_id]["category_id"], column] += count
    return ImageErrors(pixels, confusion)


def image_pq(matches: Sequence[Match]) -> float:
    """PQ of a single image in percent: the mean over the classes in it; NaN if it has none."""
    of_class: dict[int, list[Match]] = {}
    for match in matches:
        of_class.setdefault(match.class_id, []).append(match)
    values = [pooled_pq(group) for group in of_class.values()]
    return sum(values) / len(values) if values else float("nan")


def pooled_pq(matches: Sequence[Match]) -> float:
    """PQ of segments in percent, as if they were all of one class."""
    weights = {"tp": 1.0, "fp": 0.5, "fn": 0.5}
    return 100 * sum(m.iou for m in matches) / sum(weights[m.kind] for m in matches)
