"""The metric of PASTIS beside COCO's: they differ in what they do with void."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efficientps_d2.evaluation.pastis_evaluation import PastisSums


def score(gt, true_class, pan_seg, predicted_class, void=None):
    sums = PastisSums(3)
    void = np.zeros_like(gt) if void is None else void
    sums.add_image(gt, true_class, pan_seg, predicted_class, void)
    return sums


def strip(*runs):
    """A map of one row from pairs of id and number of pixels."""
    return np.concatenate([np.full(count, id_) for id_, count in runs])[None]


def test_a_perfect_prediction_under_other_ids():
    gt, pan_seg = strip((1, 5), (0, 2), (2, 5)), strip((8, 5), (0, 2), (9, 5))
    found = score(gt, {1: 0, 2: 2}, pan_seg, {8: 0, 9: 2}).means()
    assert found == {"PQ": 100, "SQ": 100, "RQ": 100}


def test_classes_that_occur_are_averaged_and_a_match_must_be_more_than_half():
    """IoU 0.6 of class 0, exactly 0.5 of class 1, class 2 only predicted."""
    gt = strip((1, 8), (2, 6), (0, 4))
    pan_seg = strip((5, 6), (0, 2), (6, 3), (0, 3), (7, 4))
    found = score(gt, {1: 0, 2: 1}, pan_seg, {5: 0, 6: 1, 7: 2})
    assert found.means()["SQ"] == pytest.approx(100 * 0.75 / 3)
    assert found.means()["RQ"] == pytest.approx(100 / 3)


def test_what_matches_a_void_object_is_taken_away_as_a_whole():
    """A prediction with IoU 0.8 to void would otherwise be a false positive of two pixels."""
    void = strip((4, 8), (0, 12))
    gt = strip((0, 10), (1, 10))
    pan_seg = strip((5, 10), (6, 10))
    assert score(gt, {1: 0}, pan_seg, {5: 0, 6: 0}, void).means()["PQ"] == 100


def test_what_lies_mostly_on_void_without_matching_it_counts_with_the_rest():
    """COCO's metric would leave it out."""
    void = strip((4, 4), (0, 12))
    gt = strip((0, 6), (1, 10))
    pan_seg = strip((0, 1), (5, 5), (6, 10))  # 3 of its 5 pixels are void, IoU 3 / 6
    found = score(gt, {1: 0}, pan_seg, {5: 0, 6: 0}, void).means()
    assert found["RQ"] == pytest.approx(100 * 2 / 3) and found["SQ"] == 100


def test_pixels_of_void_are_no_part_of_a_match():
    void = strip((4, 3), (0, 10))
    gt, pan_seg = strip((0, 3), (1, 10)), strip((0, 1), (5, 12))
    assert score(gt, {1: 0}, pan_seg, {5: 0}, void).means()["PQ"] == 100


@given(
    gt=arrays(np.int64, (4, 5), elements=st.integers(0, 4)),
    pan_seg=arrays(np.int64, (4, 5), elements=st.integers(0, 4)),
)
def test_sums_over_images_do_not_depend_on_their_order(gt, pan_seg):
    classes = {i: i % 3 for i in range(1, 5)}
    one, other = (score(a, classes, b, classes) for a, b in ((gt, pan_seg), (pan_seg, gt)))
    both = score(pan_seg, classes, gt, classes)
    both += score(gt, classes, pan_seg, classes)
    one += other
    assert np.allclose(one.sums, both.sums)
    means = one.means()
    assert all(np.isnan(value) or 0 <= value <= 100 for value in means.values())
