"""Kinds of error, confusion of classes and PQ of single images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efficientps_d2.evaluation.panoptic_metrics import Match, PanopticSums, mean_metrics
from efficientps_d2.report.error_analysis import (
    KINDS,
    count_errors,
    error_kinds,
    error_map,
    image_pq,
    near_edges,
    pooled_pq,
)

IS_THING = [True, True, False]
THINGS = [0, 1]
# Far from any edge: a map of single pixels that a large image would have.
GROUND_TRUTH = [1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 0, 5, 5]
PREDICTION = [1, 1, 1, 1, 6, 0, 7, 6, 6, 0, 1, 6, 1, 0]
# True segments: 1 found, 2 not found but predicted as another object, 3 not seen at all, 4 a crowd,
# 0 void, 5 stuff that was not found. Predicted: 6 matches nothing, 7 is another class that does.
EXPECTED = ["correct"] * 4 + ["extra", "missed", "wrong class", "wrong class", "wrong class"]
EXPECTED += ["missed", "unlabeled", "unlabeled", "wrong class", "missed"]
TRUE_SEGMENTS = [
    {"id": 1, "category_id": 0},
    {"id": 2, "category_id": 0},
    {"id": 3, "category_id": 1},
    {"id": 4, "category_id": 1, "iscrowd": 1},
    {"id": 5, "category_id": 2},
]
PREDICTED_SEGMENTS = [
    {"id": 1, "category_id": 0},
    {"id": 6, "category_id": 1},
    {"id": 7, "category_id": 1},
]
MATCHES = [
    Match("tp", 0, 7, 0.6, 1, 1),
    Match("fn", 0, 2, 0, 2, 0),
    Match("fn", 1, 1, 0, 3, 0),
    Match("fn", 2, 2, 0, 5, 0),
    Match("fp", 1, 4, 0, 0, 6),
]


def test_every_kind_away_from_edges():
    kind = error_kinds(TRUE_SEGMENTS, PREDICTED_SEGMENTS, MATCHES, THINGS)
    pairs = zip(GROUND_TRUTH, PREDICTION, strict=True)
    assert [kind(true, predicted, 0) for true, predicted in pairs] == EXPECTED


def test_at_an_edge_what_was_found_is_only_inexact():
    kind = error_kinds(TRUE_SEGMENTS, PREDICTED_SEGMENTS, MATCHES, THINGS)
    changed = {
        (true, predicted): kind(true, predicted, 1)
        for true, predicted in zip(GROUND_TRUTH, PREDICTION, strict=True)
        if kind(true, predicted, 1) != kind(true, predicted, 0)
    }
    assert changed == {(1, 0): "boundary", (1, 7): "boundary"}


def test_an_object_under_the_stuff_around_it_is_missed():
    true = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 2}]
    predicted = [{"id": 1, "category_id": 2}]
    matches = [Match("tp", 2, 90, 0.9, 2, 1), Match("fn", 0, 10, 0, 1, 0)]
    assert error_kinds(true, predicted, matches, THINGS)(1, 1, 0) == "missed"


def test_edges_reach_half_a_percent_of_the_diagonal():
    gt = np.ones((300, 400), int)
    gt[:, 200:] = 2
    near = near_edges(gt)
    assert near[:, 198:202].all() and not near[:, :196].any() and not near[:, 204:].any()
    assert not near_edges(np.ones((9, 9), int)).any()


def test_confusion_leaves_void_and_crowds_out():
    gt, prediction = np.array([GROUND_TRUTH]), np.array([PREDICTION])
    errors = count_errors(gt, TRUE_SEGMENTS, prediction, PREDICTED_SEGMENTS, MATCHES, IS_THING)
    # The last column: nothing predicted.
    assert errors.confusion.tolist() == [[4, 4, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]]
    assert sum(errors.pixels.values()) == len(GROUND_TRUTH) and errors.pixels["unlabeled"] == 2


def test_maps_that_changed_since_are_noticed():
    gt, prediction = np.array([GROUND_TRUTH]), np.array([PREDICTION])
    for t, p, what in ((gt * 2, prediction, "truth"), (gt, prediction * 2, "prediction")):
        with pytest.raises(ValueError, match=what):
            count_errors(t, TRUE_SEGMENTS, p, PREDICTED_SEGMENTS, MATCHES, IS_THING)


MAPS = arrays(np.int64, (4, 6), elements=st.integers(0, 4))
CLASSES = st.lists(st.integers(0, len(IS_THING) - 1), min_size=5, max_size=5)


def segments_of(ids, classes):
    return [{"id": int(i), "category_id": classes[i]} for i in np.unique(ids) if i]


def score(gt, true_segments, prediction, predicted_segments):
    sums = PanopticSums(len(IS_THING))
    return sums, sums.add_image(gt, true_segments, prediction, predicted_segments)


@given(MAPS, CLASSES, MAPS, CLASSES)
def test_counts_are_those_of_the_map(gt, true_classes, prediction, predicted_classes):
    true, predicted = segments_of(gt, true_classes), segments_of(prediction, predicted_classes)
    sums, matches = score(gt, true, prediction, predicted)
    kinds = error_map(gt, prediction, error_kinds(true, predicted, matches, THINGS))
    errors = count_errors(gt, true, prediction, predicted, matches, IS_THING)
    assert [errors.pixels[k] for k in KINDS] == np.bincount(kinds.ravel(), minlength=6).tolist()
    assert errors.confusion.sum() == (gt > 0).sum()
    # PQ of the image is that of an evaluation of this image alone.
    assert image_pq(matches) == pytest.approx(mean_metrics(sums, [])["PQ"], nan_ok=True)


@given(MAPS, CLASSES)
def test_a_perfect_prediction_has_no_errors(gt, classes):
    segments = segments_of(gt, classes)
    _, matches = score(gt, segments, gt, segments)
    errors = count_errors(gt, segments, gt, segments, matches, IS_THING)
    assert errors.pixels["correct"] + errors.pixels["unlabeled"] == gt.size
    if matches:
        assert image_pq(matches) == pooled_pq(matches) == 100
