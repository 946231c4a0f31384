"""Kinds of error, confusion of classes and PQ of single pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efficientps_d2.panoptic_errors import (
    KINDS,
    count_errors,
    error_kinds,
    error_map,
    picture_pq,
    pooled_pq,
)
from efficientps_d2.panoptic_metrics import PanopticSums, mean_metrics

NUM_CLASSES = 3
# Classes: 0 and 1. True segments: 1 found by 1, 2 taken for class 1 (5), 3 not seen at all,
# 4 a crowd, 0 void. Predicted 6 is extra, in 1.
TRUTH = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 0]])
PREDICTION = np.array([[1, 1, 1, 1, 6, 0, 5, 5, 0, 1, 5]])
EXPECTED = ["correct"] * 4 + ["extra", "boundary", "wrong class", "wrong class", "missed"]
EXPECTED += ["unlabeled"] * 2
TRUE_SEGMENTS = [
    {"id": 1, "category_id": 0},
    {"id": 2, "category_id": 0},
    {"id": 3, "category_id": 1},
    {"id": 4, "category_id": 1, "iscrowd": 1},
]
PREDICTED_SEGMENTS = [
    {"id": 1, "category_id": 0},
    {"id": 5, "category_id": 1},
    {"id": 6, "category_id": 1},
]


def score(truth, true_segments, prediction, predicted_segments):
    sums = PanopticSums(NUM_CLASSES)
    return sums, sums.add_image(truth, true_segments, prediction, predicted_segments)


def test_every_kind():
    _, matches = score(TRUTH, TRUE_SEGMENTS, PREDICTION, PREDICTED_SEGMENTS)
    kind = error_kinds(TRUE_SEGMENTS, PREDICTED_SEGMENTS, matches)
    assert [KINDS[i] for i in error_map(TRUTH, PREDICTION, kind)[0]] == EXPECTED


def test_a_part_of_a_segment_under_a_found_neighbour():
    truth, prediction = np.array([[1, 1, 1, 2, 2, 3]]), np.array([[1, 1, 1, 1, 2, 2]])
    segments = [{"id": i, "category_id": 0} for i in (1, 2, 3)]
    _, matches = score(truth, segments, prediction, segments[:2])
    kind = error_kinds(segments, segments[:2], matches)
    # Segment 1 has IoU 3/4, segment 2 only 1/3; a bad prediction of the right class is a miss.
    assert [KINDS[i] for i in error_map(truth, prediction, kind)[0]] == [
        *["correct"] * 3,
        *["missed"] * 3,
    ]
    prediction = np.array([[1, 1, 1, 1, 2, 2]])
    truth = np.array([[1, 1, 1, 2, 2, 2]])
    _, matches = score(truth, segments[:2], prediction, segments[:2])
    kind = error_kinds(segments[:2], segments[:2], matches)
    assert [KINDS[i] for i in error_map(truth, prediction, kind)[0]][3] == "boundary"


def test_confusion_leaves_void_and_crowds_out():
    _, matches = score(TRUTH, TRUE_SEGMENTS, PREDICTION, PREDICTED_SEGMENTS)
    errors = count_errors(
        TRUTH, TRUE_SEGMENTS, PREDICTION, PREDICTED_SEGMENTS, matches, NUM_CLASSES
    )
    expected = [[4, 3, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]  # the last column: nothing predicted
    assert errors.confusion.tolist() == expected
    assert errors.pixels == {kind: EXPECTED.count(kind) for kind in KINDS}


MAPS = arrays(np.int64, (4, 6), elements=st.integers(0, 4))
CLASSES = st.lists(st.integers(0, NUM_CLASSES - 1), min_size=5, max_size=5)


def segments_of(ids, classes):
    return [{"id": int(i), "category_id": classes[i]} for i in np.unique(ids) if i]


@given(MAPS, CLASSES, MAPS, CLASSES)
def test_counts_are_those_of_the_map(truth, true_classes, prediction, predicted_classes):
    true, predicted = segments_of(truth, true_classes), segments_of(prediction, predicted_classes)
    sums, matches = score(truth, true, prediction, predicted)
    kinds = error_map(truth, prediction, error_kinds(true, predicted, matches))
    errors = count_errors(truth, true, prediction, predicted, matches, NUM_CLASSES)
    assert [errors.pixels[k] for k in KINDS] == np.bincount(kinds.ravel(), minlength=6).tolist()
    assert errors.confusion.sum() == (truth > 0).sum()
    # PQ of the picture is that of an evaluation of this picture alone.
    assert picture_pq(matches) == pytest.approx(mean_metrics(sums, [])["PQ"], nan_ok=True)


@given(MAPS, CLASSES)
def test_a_perfect_prediction_has_no_errors(truth, classes):
    segments = segments_of(truth, classes)
    _, matches = score(truth, segments, truth, segments)
    errors = count_errors(truth, segments, truth, segments, matches, NUM_CLASSES)
    assert errors.pixels["correct"] + errors.pixels["unlabeled"] == truth.size
    if matches:
        assert picture_pq(matches) == pooled_pq(matches) == 100
