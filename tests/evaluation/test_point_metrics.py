"""The metric of SemanticKITTI, with the numbers that its own tools give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efficientps_d2.evaluation.point_metrics import LabelledPoints, PointSums

GRASS, SKY, PERSON, DOG = 1, 2, 3, 4


def runs(*parts) -> np.ndarray:
    return np.concatenate([np.full(count, value) for value, count in parts])


def score(truth, prediction, classes=5, min_points=1) -> PointSums:
    sums = PointSums(classes, min_points)
    sums.add_scan(LabelledPoints(*truth), LabelledPoints(*prediction))
    return sums


def test_the_example_of_the_publishers_self_test():
    """Grass and sky swap a fifth of their points; one of three people and a dog are missed."""
    true = runs((0, 50), (GRASS, 50), (SKY, 50), (DOG, 50), (PERSON, 300))
    true_numbers = runs((0, 150), (22, 50), (33, 150), (42, 50), (11, 100))
    found = runs((0, 50), (GRASS, 40), (SKY, 10), (SKY, 40), (GRASS, 10), (PERSON, 350))
    numbers = runs((0, 150), (35, 50), (8, 200), (95, 100))
    means = score((true, true_numbers), (found, numbers)).means(np.array([0, 0, 1, 1], bool))
    assert means["PQ"] == pytest.approx(47.9166, abs=1e-3)
    assert means["SQ"] == pytest.approx(55.2083, abs=1e-3)
    assert means["RQ"] == pytest.approx(66.67, abs=1e-2)
    assert means["mIoU"] == pytest.approx(54.7619, abs=1e-3)


def test_small_segments_are_errors_of_no_kind_but_may_match():
    true, numbers = runs((1, 49), (1, 49), (1, 60)), runs((1, 49), (2, 49), (3, 60))
    found, found_numbers = runs((1, 49), (2, 49), (2, 60)), runs((7, 49), (8, 49), (9, 60))
    sums = score((true, numbers), (found, found_numbers), 3, 50)
    assert sums.segments[1].tolist() == [1, 1, 0, 1]  # a match of 49 points; one of 60 is missed
    assert sums.segments[2].tolist() == [0, 0, 1, 0]


def test_points_without_a_class_are_taken_out_first():
    """Otherwise the prediction would be too large to match."""
    true, numbers = runs((0, 100), (1, 60)), runs((0, 100), (4, 60))
    sums = score((true, numbers), (runs((1, 160)), runs((9, 160))), 2)
    assert sums.class_metrics()["PQ"].tolist() == [1]


def test_two_raw_classes_are_two_segments_of_stuff():
    """A road with lane markings is never one true segment, as for the publisher."""
    true, numbers = runs((1, 300)), runs((40, 200), (60, 100))
    metrics = score((true, numbers), (true, runs((40, 300))), 2).class_metrics()
    assert metrics["SQ"][0] == pytest.approx(2 / 3) and metrics["RQ"][0] == pytest.approx(2 / 3)
    assert metrics["IoU"][0] == 1


def test_a_class_that_never_occurs_counts_as_0():
    true = runs((1, 80), (2, 80))
    means = score((true, true), (true, true), 5).means(np.array([1, 0, 1, 0], bool))
    assert means["PQ"] == means["mIoU"] == means["PQ_th"] == means["PQ_dagger"] == 50


def by_definition(true, numbers, found, found_numbers, class_id, min_points):
    """Sum of IoU, matches, extra and missed segments of a class, pair by pair."""
    known = true > 0

    def segments(classes, numbers):
        pairs = set(zip(classes.tolist(), numbers.tolist(), strict=True))
        chosen = [number for class_, number in pairs if class_ == class_id]
        return {n: known & (classes == class_id) & (numbers == n) for n in chosen}

    a, b = segments(true, numbers), segments(found, found_numbers)
    ious = {}
    for i, p in a.items():
        for j, q in b.items():
            ious[i, j] = (p & q).sum() / max((p | q).sum(), 1)
    pairs = {pair: iou for pair, iou in ious.items() if iou > 0.5}
    extra = [j for j, q in b.items() if q.sum() >= min_points and j not in {j for _, j in pairs}]
    missed = [i for i, p in a.items() if p.sum() >= min_points and i not in {i for i, _ in pairs}]
    return [sum(pairs.values()), len(pairs), len(extra), len(missed)]


points = arrays(np.int64, 24, elements=st.integers(0, 3))


@given(points, points, points, points, st.integers(1, 6))
def test_sums_are_those_of_the_definition(true, numbers, found, found_numbers, min_points):
    sums = score((true, numbers), (found, found_numbers), 4, min_points)
    for class_id in (1, 2, 3):
        expected = by_definition(true, numbers, found, found_numbers, class_id, min_points)
        assert np.allclose(sums.segments[class_id], expected)
