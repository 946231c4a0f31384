"""PQ and IoU of labelled points as the tools of SemanticKITTI compute them.

Unlike panopticapi: points without a class in the ground truth are taken out first; a match counts
whatever its size, but an unmatched segment only with at least 50 points; each mean is over all
classes, and a class that never occurs counts as 0; the number of a segment is its whole value, so
that the two raw classes of one class are two segments.
"""

from typing import NamedTuple

import numpy as np

MIN_POINTS = 50  # of an unmatched segment
MATCH = 0.5  # least IoU, not included


class LabelledPoints(NamedTuple):
    """Of each point its class, (N,) integers from 0, which is none, and the number of a segment."""

    classes: np.ndarray
    numbers: np.ndarray


class PointSums:
    """Sums over scans for the metrics of points."""

    def __init__(self, num_classes: int, min_points: int = MIN_POINTS):
        """
        Args:
            num_classes: with class 0, which is not scored.
            min_points: of an unmatched segment that counts.
        """
        self.min_points = min_points
        # Of each class: sum of IoU of matches, matches, unmatched predictions, unmatched truths.
        self.segments = np.zeros((num_classes, 4))
        self.confusion = np.zeros((num_classes, num_classes), dtype=np.int64)  # predicted, true

    def __iadd__(self, other: "PointSums") -> "PointSums":
        self.segments += other.segments
        self.confusion += other.confusion
        return self

    def add_scan(self, truth: LabelledPoints, prediction: LabelledPoints) -> None:
        """Score a scan."""
        count, known = len(self.segments), truth.classes > 0
        classes = [np.asarray(x.classes)[known].astype(np.int64) for x in (truth, prediction)]
        numbers = [np.asarray(x.numbers)[known].astype(np.int64) for x in (truth, prediction)]
        self.confusion += np.bincount(
            classes[1] * count + classes[0], minlength=count * count
        ).reshape(count, count)
        true, predicted = (
            np.unique(np.stack(pair), axis=1, return_inverse=True, return_counts=True)
            for pair in zip(classes, numbers, strict=True)
        )
        pairs, shared = np.unique(
            np.stack([true[1].ravel(), predicted[1].ravel()]), axis=1, return_counts=True
        )
        i, j = pairs
        iou = shared / (true[2][i] + predicted[2][j] - shared)
        same = true[0][0][i] == predicted[0][0][j]
        matched = same & (iou > MATCH)
        np.add.at(self.segments[:, 0], true[0][0][i[matched]], iou[matched])
        np.add.at(self.segments[:, 1], true[0][0][i[matched]], 1)
        for column, (segments, _, sizes), found in ((2, predicted, j), (3, true, i)):
            missed = np.ones(len(sizes), dtype=bool)
            missed[found[matched]] = False
            missed &= (sizes >= self.min_points) & (segments[0] > 0)
            np.add.at(self.segments[:, column], segments[0][missed], 1)

    def class_metrics(self) -> dict[str, np.ndarray]:
        """PQ, SQ, RQ and IoU of the classes from 1, from 0 to 1; 0 where nothing occurs."""
        iou_sum, matched, extra, missed = self.segments[1:].T
        sq = iou_sum / np.maximum(matched, 1)
        rq = matched / np.maximum(matched + extra / 2 + missed / 2, 1e-15)
        true, predicted = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        right = np.diag(self.confusion)
        iou = (right / np.maximum(true + predicted - right, 1))[1:]
        return {"PQ": sq * rq, "SQ": sq, "RQ": rq, "IoU": iou}

    def means(self, is_thing: np.ndarray) -> dict[str, float]:
        """The means that the public benchmark lists, in percent.

        Args:
            is_thing: (classes,) bool, of those from 1.
        """
        of_class = self.class_metrics()
        dagger = np.where(is_thing, of_class["PQ"], of_class["IoU"])
        values = {"PQ": of_class["PQ"].mean(), "PQ_dagger": dagger.mean()}
        values |= {name: of_class[name].mean() for name in ("SQ", "RQ")}
        for kind, chosen in (("th", is_thing), ("st", ~is_thing)):
            for name in ("PQ", "SQ", "RQ"):
                chosen_values = of_class[name][chosen]
                values[f"{name}_{kind}"] = chosen_values.mean() if chosen.any() else 0.0
        values["mIoU"] = of_class["IoU"].mean()
        return {name: 100 * float(value) for name, value in values.items()}
