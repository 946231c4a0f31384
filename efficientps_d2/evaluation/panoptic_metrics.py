"""PQ, PQ-dagger and PC of panoptic maps: one image at a time, in sums of fixed size.

PQ (Kirillov et al. 2019) is that of panopticapi, PQ-dagger that of Porzi et al. 2019, PC (Parsing
Covering) that of Yang et al. 2019, each region weighted by its share of its image as in their code.
All come from one histogram of the pairs of true and predicted ids of an image. Sums are exact, so
that neither the order of the images nor the number of processes changes a digit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from efficientps_d2.evaluation.overlaps import VOID, Overlaps, count_overlaps, segments_by_id

UNIT = 2**60  # fractions are added as whole numbers of 1 / UNIT
# Sums of: IoU of matches; IoU of all pairs of one class, for PQ-dagger; for PC, area times best
# IoU, and area, both over the area of the image.
FRACTIONS = ("iou", "overlap_iou", "covered", "area")
GROUPS = ("", "_th", "_st")  # all classes, things, stuff
GROUND_TRUTH, PREDICTION = "the ground truth", "the prediction"


class Match(NamedTuple):
    """A segment as an image's score counts it; without a partner, IoU and the other id are 0.

    ``kind`` is "tp", "fp" or "fn"; ``area`` is that of the true segment, for "fp" of the predicted
    one, in pixels.
    """

    kind: str
    class_id: int
    area: int
    iou: float
    true_id: int
    predicted_id: int


class Compared(NamedTuple):
    """Overlaps of a true and a predicted map, and the segments of both by id."""

    overlaps: Overlaps
    true: dict[int, dict]
    predicted: dict[int, dict]


def compare_maps(
    gt: np.ndarray,
    gt_segments: Sequence[dict],
    prediction: np.ndarray,
    predicted_segments: Sequence[dict],
    num_classes: int,
) -> Compared:
    """What the metrics need of an image; see :meth:`PanopticSums.add_image`."""
    overlaps = count_overlaps(gt, prediction)
    true = segments_by_id(gt_segments, overlaps.gt, num_classes, GROUND_TRUTH)
    predicted = segments_by_id(predicted_segments, overlaps.prediction, num_classes, PREDICTION)
    return Compared(overlaps, true, predicted)


@dataclass
class PanopticSums:
    """What the metrics need of all images seen, (K,) for K classes."""

    num_classes: int
    tp: np.ndarray = field(init=False)
    fp: np.ndarray = field(init=False)
    fn: np.ndarray = field(init=False)
    segments: np.ndarray = field(init=False)  # true ones

    def __post_init__(self):
        for name in ("tp", "fp", "fn", "segments"):
            setattr(self, name, np.zeros(self.num_classes, dtype=np.int64))
        self._fractions = {name: [0] * self.num_classes for name in FRACTIONS}

    def fractions(self, name: str) -> np.ndarray:
        """(K,) one of :data:`FRACTIONS`."""
        return np.array([value / UNIT for value in self._fractions[name]])

    def _add(self, name: str, class_id: int, fraction: float) -> None:
        self._fractions[name][class_id] += round(fraction * UNIT)

    def __iadd__(self, other: "PanopticSums") -> "PanopticSums":
        for name in ("tp", "fp", "fn", "segments"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, values in self._fractions.items():
            pairs = zip(values, other._fractions[name], strict=True)
            self._fractions[name] = [ours + theirs for ours, theirs in pairs]
        return self

    def add_image(
        self,
        gt: np.ndarray,
        gt_segments: Sequence[dict],
        prediction: np.ndarray,
        predicted_segments: Sequence[dict],
    ) -> list[Match]:
        """Add an image.

        Args:
            gt: (H, W) segment ids, 0 is void.
            gt_segments: ``id``, ``category_id`` 0..K-1 and, optionally, ``iscrowd`` of each.
            prediction: (H, W) segment ids, 0 is void.
            predicted_segments: ``id`` and ``category_id`` of each.

        Returns:
            The segments that count, with what became of them.

        Raises:
            MismatchError: if an id is in a map and not in its segments or the other way round, an
                ``area`` is wrong, which would change panopticapi's scores, or a class is unknown.
        """
        return self.add(
            compare_maps(gt, gt_segments, prediction, predicted_segments, self.num_classes)
        )

    def add(self, compared: Compared) -> list[Match]:
        """As :meth:`add_image`, of what :func:`compare_maps` gave."""
        self._add_covering(*compared)
        return self.add_quality(*compared)

    def add_quality(
        self, overlaps: Overlaps, true: dict[int, dict], predicted: dict[int, dict]
    ) -> list[Match]:
        """Add an image, or the frames of a window, to PQ and PQ-dagger alone.

        Args:
            overlaps: of its maps.
            true, predicted: segments by id, as :func:`segments_by_id` gives them.
        """
        pairs, matches, matched = overlaps.pairs, [], set()
        for (i, j), intersection in pairs.items():
            if not _comparable(true.get(i), predicted.get(j)):
                continue
            area = overlaps.gt[i]
            union = area + overlaps.prediction[j] - intersection - pairs.get((VOID, j), 0)
            iou, class_id = intersection / union, true[i]["category_id"]
            self._add("overlap_iou", class_id, iou)
            if iou > 0.5:
                self._add("iou", class_id, iou)
                self.tp[class_id] += 1
                matches.append(Match("tp", class_id, area, iou, i, j))
                matched |= {("true", i), ("predicted", j)}

        crowds = {}  # of two crowds of one class panopticapi knows the last
        for i, segment in true.items():
            class_id = segment["category_id"]
            if segment.get("iscrowd"):
                crowds[class_id] = i
                continue
            self.segments[class_id] += 1
            if ("true", i) not in matched:
                self.fn[class_id] += 1
                matches.append(Match("fn", class_id, overlaps.gt[i], 0.0, i, VOID))
        for j, segment in predicted.items():
            class_id, area = segment["category_id"], overlaps.prediction[j]
            ignored = pairs.get((VOID, j), 0) + pairs.get((crowds.get(class_id), j), 0)
            if ("predicted", j) not in matched and ignored / area <= 0.5:
                self.fp[class_id] += 1
                matches.append(Match("fp", class_id, area, 0.0, VOID, j))
        return matches

    def _add_covering(self, overlaps: Overlaps, true: dict, predicted: dict) -> None:
        """PC: void and crowds leave the image first; then the best IoU of each true segment."""
        pixels = sum(overlaps.gt.values())
        areas, best = {}, {}
        for (i, j), count in overlaps.pairs.items():
            if i != VOID and not true[i].get("iscrowd"):
                areas[j] = areas.get(j, 0) + count
        for (i, j), intersection in overlaps.pairs.items():
            if _comparable(true.get(i), predicted.get(j)):
                iou = intersection / (overlaps.gt[i] + areas[j] - intersection)
                best[i] = max(best.get(i, 0.0), iou)
        for i, segment in true.items():
            if not segment.get("iscrowd"):
                share = overlaps.gt[i] / pixels
                self._add("area", segment["category_id"], share)
                self._add("covered", segment["category_id"], share * best.get(i, 0.0))


def class_metrics(sums: PanopticSums, thing_ids: Sequence[int]) -> dict[str, np.ndarray]:
    """PQ, SQ, RQ, PQ_dagger and PC of each class, (K,) in percent; NaN where a class has none.

    PQ_dagger of things is PQ.
    """
    iou, overlap_iou, covered, area = map(sums.fractions, FRACTIONS)
    with np.errstate(invalid="ignore", divide="ignore"):
        counted = sums.tp + 0.5 * sums.fp + 0.5 * sums.fn
        missed = (sums.tp == 0) & (counted > 0)
        metrics = {
            "PQ": 100 * (iou / counted),
            "SQ": 100 * np.where(missed, 0.0, iou / sums.tp),
            "RQ": 100 * (sums.tp / counted),
            "PQ_dagger": 100 * (overlap_iou / sums.segments),
            "PC": 100 * (covered / area),
        }
    things = list(thing_ids)
    metrics["PQ_dagger"][things] = metrics["PQ"][things]
    return metrics


def mean_metrics(sums: PanopticSums, thing_ids: Sequence[int]) -> dict[str, float]:
    """Means over all classes, over things (``_th``) and over stuff (``_st``), in percent.

    Classes without a value do not count; without any class the mean is NaN.
    """
    is_thing = np.isin(np.arange(sums.num_classes), list(thing_ids))
    groups = dict(zip(GROUPS, (slice(None), is_thing, ~is_thing), strict=True))
    means = {}
    for name, values in class_metrics(sums, thing_ids).items():
        for suffix, group in groups.items():
            of_group = [v for v in values[group].tolist() if not np.isnan(v)]
            means[name + suffix] = sum(of_group) / len(of_group) if of_group else float("nan")
    return means


def named_metrics(
    sums: PanopticSums, names: Sequence[str], thing_ids: Sequence[int]
) -> dict[str, float]:
    """:func:`mean_metrics`, then those of each class as "PQ-car", in percent."""
    return mean_metrics(sums, thing_ids) | by_name(class_metrics(sums, thing_ids), names)


def by_name(of_class: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, float]:
    """Metrics of each class, (K,), as numbers called "PQ-car"."""
    return {
        f"{metric}-{name}": value
        for metric, values in of_class.items()
        for name, value in zip(names, values.tolist(), strict=True)
    }


def _comparable(true: dict | None, predicted: dict | None) -> bool:
    """Whether a pair of segments may match: of one class, the true one no crowd."""
    if true is None or predicted is None or true.get("iscrowd"):
        return False
    return true["category_id"] == predicted["category_id"]
