"""Objects keep their ids in a video."""

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2.prediction.tracking import MEMORY, Tracker
from efficientps_d2.utils.instance_colors import encode

SIZE = (120, 200)
CAR, PERSON = 0, 1


def box(x: float, y: float, width: int = 20, height: int = 30, behind: tuple | None = None) -> dict:
    """The mask of a box, but for what the columns ``behind`` hide."""
    mask = np.zeros(SIZE, bool)
    x, y = round(x), round(y)
    mask[max(y, 0) : y + height, max(x, 0) : max(x + width, 0)] = True
    if behind:
        mask[:, behind[0] : behind[1]] = False
    return encode(mask)


def followed(frames: list[list[dict]], class_id: int = CAR) -> list[list[int]]:
    """Ids of the masks of each frame; empty ones are not seen."""
    tracker, ids = Tracker(2), []
    for masks in frames:
        seen = [mask for mask in masks if mask_util.area(mask)]
        given_ids = iter(tracker(seen, [class_id] * len(seen)))
        ids.append([next(given_ids) if mask_util.area(mask) else None for mask in masks])
    return ids


@settings(max_examples=30)
@given(
    st.integers(-4, 4),
    st.integers(-3, 3),
    st.integers(-4, 4),
    st.permutations([0, 1, 2]),
)
def test_moving_objects_keep_their_ids(dx, dy, other_dx, order):
    """In whatever order they come."""
    tracker, seen = Tracker(2), []
    for i in range(8):
        masks = [box(60 + i * dx, 40 + i * dy), box(120, 10), box(100 + i * other_dx, 80)]
        shuffled = order if i % 2 else range(3)
        ids = tracker([masks[k] for k in shuffled], [CAR] * 3)
        seen.append([ids[list(shuffled).index(k)] for k in range(3)])
    assert all(ids == seen[0] for ids in seen) and len(set(seen[0])) == 3


@pytest.mark.parametrize("speed", [-6, -2, 2, 6])
@pytest.mark.parametrize("wide", [30, 60])
def test_an_object_that_passes_behind_something_keeps_its_id(speed, wide):
    hider = (100 - wide // 2, 100 + wide // 2)
    start = 20 if speed > 0 else 160
    frames = [[box(start + speed * i, 40, behind=hider)] for i in range(140 // abs(speed))]
    ids = [id_ for (id_,) in followed(frames)]
    assert ids[0] == 1 and ids[-1] == 1 and {1} <= set(ids) <= {1, None}
    assert None in ids or wide < abs(speed) + 20


def test_two_that_cross_behind_something_keep_theirs():
    frames = [
        [box(10 + 4 * i, 20, behind=(80, 120)), box(170 - 4 * i, 30, behind=(80, 120))]
        for i in range(38)
    ]
    ids = followed(frames)
    assert ids[0] == [1, 2] and ids[-1] == [1, 2]


def test_of_two_classes_are_two_objects():
    tracker = Tracker(2)
    assert tracker([box(10, 10)], [CAR]) == [1]
    assert tracker([box(10, 10)], [PERSON]) == [2]


def test_a_mask_has_one_id_and_an_id_one_mask():
    """Also where two masks are alike."""
    tracker = Tracker(2)
    for _ in range(3):
        assert sorted(tracker([box(10, 10), box(11, 10)], [CAR, CAR])) == [1, 2]


def test_of_two_close_together_the_more_alike_mask_counts():
    """Each lies where the other should be, too."""
    tracker = Tracker(2)
    assert tracker([box(10, 10), box(14, 10)], [CAR, CAR]) == [1, 2]
    assert tracker([box(14, 10), box(10, 10)], [CAR, CAR]) == [2, 1]


def test_what_is_hidden_for_long_is_forgotten():
    for hidden, same in ((MEMORY, True), (MEMORY + 1, False)):
        frames = [[box(50, 50)]] * 2 + [[]] * hidden + [[box(50, 50)]]
        assert (followed(frames)[-1] == [1]) == same


def test_what_appears_elsewhere_is_new():
    assert followed([[box(20, 20)], [], [box(120, 60)]])[-1] == [2]


def test_no_objects():
    tracker = Tracker(2)
    assert tracker([], []) == [] and tracker([box(1, 1)], [CAR]) == [1] and tracker([], []) == []
