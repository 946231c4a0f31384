"""What is wrong with a panoptic prediction, pixel by pixel and class by class, for reports."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .panoptic_metrics import OFFSET, VOID, Match, count_overlaps

CORRECT, BOUNDARY, WRONG_CLASS, MISSED, EXTRA, UNLABELED = KINDS = (
    "correct",
    "boundary",
    "wrong class",
    "missed",
    "extra",
    "unlabeled",
)
MEANING = {
    CORRECT: "in a true segment and in the predicted segment that matches it",
    BOUNDARY: "in a true segment that was found, but outside the prediction that matches it",
    WRONG_CLASS: "in a segment that was not found, under an unmatched prediction of another class",
    MISSED: "in a segment that was not found",
    EXTRA: "in a segment that was found, under an unmatched prediction",
    UNLABELED: "void or crowd in the truth, and not counted",
}


class PictureErrors(NamedTuple):
    """Of one picture, or summed over many."""

    pixels: dict[str, int]  # of each kind
    confusion: np.ndarray  # (K, K + 1) pixels by true and predicted class; the last is none


def error_kinds(
    true_segments: list[dict], predicted_segments: list[dict], matches: list[Match]
) -> Callable[[int, int], str]:
    """The kind of error of a pixel as a function of its true and its predicted id.

    Args:
        true_segments: ``id``, ``category_id`` and, optionally, ``iscrowd``.
        predicted_segments: ``id`` and ``category_id`` in the same numbering.
        matches: what :meth:`PanopticSums.add_image` said of these segments.
    """
    found = {match.true_id: match.predicted_id for match in matches if match.kind == "tp"}
    wrong = {match.predicted_id for match in matches if match.kind == "fp"}
    counted = {s["id"]: s["category_id"] for s in true_segments if not s.get("iscrowd")}
    predicted = {s["id"]: s["category_id"] for s in predicted_segments}

    def kind(true_id: int, predicted_id: int) -> str:
        if true_id not in counted:
            return UNLABELED
        if true_id not in found:
            other_class = predicted.get(predicted_id) != counted[true_id]
            return WRONG_CLASS if predicted_id in wrong and other_class else MISSED
        if found[true_id] == predicted_id:
            return CORRECT
        return EXTRA if predicted_id in wrong else BOUNDARY

    return kind


def error_map(truth: np.ndarray, prediction: np.ndarray, kind: Callable) -> np.ndarray:
    """(H, W) uint8 indices into ``KINDS`` for two (H, W) maps of segment ids."""
    keys = truth.astype(np.int64) * OFFSET + prediction
    keys, where = np.unique(keys, return_inverse=True)
    kinds = [KINDS.index(kind(*divmod(key, OFFSET))) for key in keys.tolist()]
    return np.array(kinds, dtype=np.uint8)[where.reshape(truth.shape)]


def count_errors(
    truth: np.ndarray,
    true_segments: list[dict],
    prediction: np.ndarray,
    predicted_segments: list[dict],
    matches: list[Match],
    num_classes: int,
) -> PictureErrors:
    """Count the pixels of each kind and of each pair of classes; void and crowds stay out."""
    kind = error_kinds(true_segments, predicted_segments, matches)
    counted = {s["id"]: s["category_id"] for s in true_segments if not s.get("iscrowd")}
    predicted = {s["id"]: s["category_id"] for s in predicted_segments} | {VOID: num_classes}
    pixels = dict.fromkeys(KINDS, 0)
    confusion = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    for (true_id, predicted_id), count in count_overlaps(truth, prediction).pairs.items():
        pixels[kind(true_id, predicted_id)] += count
        if true_id in counted:
            confusion[counted[true_id], predicted[predicted_id]] += count
    return PictureErrors(pixels, confusion)


def picture_pq(matches: list[Match]) -> float:
    """PQ of a single picture in percent: the mean over the classes in it; NaN if it has none."""
    of_class: dict[int, list[Match]] = {}
    for match in matches:
        of_class.setdefault(match.class_id, []).append(match)
    values = [pooled_pq(group) for group in of_class.values()]
    return sum(values) / len(values) if values else float("nan")


def pooled_pq(matches: list[Match]) -> float:
    """PQ of segments in percent, as if they were all of one class."""
    weights = {"tp": 1.0, "fp": 0.5, "fn": 0.5}
    return 100 * sum(m.iou for m in matches) / sum(weights[m.kind] for m in matches)
