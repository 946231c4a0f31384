"""Tiles join to one panoptic map in which objects across seams are whole, and there once."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2.prediction.mosaic import Mosaic, tiles

ROAD, CAR, BUS = 0, 1, 2


@settings(max_examples=100)
@given(st.tuples(st.integers(1, 200), st.integers(1, 200)), st.integers(4, 90))
def test_cores_cover_the_image_once_and_tiles_overlap(size, side):
    count = np.zeros(size, dtype=int)
    for tile in tiles(size, side):
        count[tile.core] += 1
        for part, core, length in zip((tile.rows, tile.columns), tile.core, size, strict=True):
            assert part.stop - part.start == min(side, length)
            margins = (core.start - part.start, part.stop - core.stop)
            at_edges = (part.start == 0, part.stop == length)
            assert all(m >= side // 8 or edge for m, edge in zip(margins, at_edges, strict=True))
    assert (count == 1).all()


def perfect(scene, classes, seen=0.0):
    """A network that sees every object of which a tile has this share; 0 is road."""

    def predict(tile):
        part = scene[tile.rows, tile.columns]
        pan_seg, segments = np.zeros(part.shape, dtype=np.int32), []
        for value in np.unique(part):
            mask = part == value
            if value == 0 or mask.sum() > seen * (scene == value).sum():
                number, thing = len(segments) + 1, bool(value)
                pan_seg[mask] = number
                segments.append(
                    SimpleNamespace(
                        id=number,
                        category_id=classes[value],
                        isthing=thing,
                        score=0.5 + value / 100,
                        area=int(mask.sum()),
                    )
                )
        return pan_seg, segments

    return predict


def joined(scene, classes, side, **options):
    mosaic, predict = Mosaic(scene.shape), perfect(scene, classes, **options)
    for tile in tiles(scene.shape, side):
        mosaic.add(tile, *predict(tile))
    return mosaic, mosaic.finish(0)


@st.composite
def scenes(draw, largest=60):
    """Rectangles, and lines with bends, that do not overlap, of two classes."""
    scene = np.zeros((draw(st.integers(20, 150)), draw(st.integers(20, 150))), dtype=int)
    classes = [ROAD]
    for _ in range(draw(st.integers(0, 12))):
        y, x = (draw(st.integers(0, length - 8)) for length in scene.shape)
        h, w = draw(st.integers(4, largest)), draw(st.integers(4, largest))
        mask = np.zeros(scene.shape, dtype=np.uint8)
        if largest > 50 and draw(st.booleans()):
            bends = [(x, y), (x + w, y), (x, y + h), (x + w, y + h)]
            bends = np.array(bends[: draw(st.integers(2, 4))])[None]
            cv2.polylines(mask, bends, False, 1, thickness=draw(st.integers(5, 12)))
        else:
            mask[y : y + h, x : x + w] = 1
        is_one = cv2.connectedComponents(mask)[0] == 2  # the image may cut a line in two
        if is_one and not scene[mask > 0].any():
            scene[mask > 0] = len(classes)
            classes.append(draw(st.sampled_from([CAR, BUS])))
    return scene, classes


def check(scene, classes, mosaic, segments):
    pairs = np.unique(np.stack([scene.ravel(), mosaic.pan_seg.ravel()]), axis=1).T.tolist()
    assert len(pairs) == len(segments) == len(np.unique(scene)), "one segment for each object"
    for value, number in pairs:
        class_id, isthing, score, area = segments[number - 1]
        assert (class_id, isthing) == (classes[value], value > 0)
        assert area == (scene == value).sum()
        assert score == pytest.approx(0.5 + value / 100)


@settings(max_examples=150)
@given(scenes(), st.integers(32, 90))
def test_objects_of_any_size_are_joined(case, side):
    check(*case, *joined(*case, side))


@settings(max_examples=150)
@given(scenes(largest=12), st.integers(56, 90), st.sampled_from([0.3, 0.6, 0.9]))
def test_small_objects_that_are_missed_at_the_sides_of_tiles_are_whole(case, side, seen):
    """Every one of them lies in some tile as a whole."""
    check(*case, *joined(*case, side, seen=seen))


def two_views(first, second, classes=(CAR, CAR)):
    """Classes, scores and areas of two tiles that see these rows of an object in their overlap."""
    mosaic = Mosaic((40, 100))
    for tile, rows, class_id, score in zip(
        tiles((40, 100), 64), (first, second), classes, (0.6, 0.9), strict=True
    ):
        pan_seg = np.ones((40, 64), dtype=np.int32)
        pan_seg[rows, slice(4, 40) if tile.is_inner[2] else slice(40, 64)] = 2
        road = SimpleNamespace(id=1, category_id=ROAD, isthing=False, score=score, area=10**4)
        thing = SimpleNamespace(id=2, category_id=class_id, isthing=True, score=score, area=1)
        if tile.is_inner[2]:
            road.area *= 3
        mosaic.add(tile, pan_seg, [road, thing])
    return mosaic.finish(0)


def test_views_are_of_one_object_if_more_than_half_is_common():
    """Where both tiles look. Its score is the best, that of stuff the mean over pixels."""
    bounds = [slice(10, 30), slice(10, 21), slice(10, 19)]
    things, road = two_views(bounds[0], bounds[1])[:-1], two_views(bounds[0], bounds[1])[-1]
    assert [(c, s) for c, _, s, _ in things] == [(CAR, 0.9)]
    assert road[2] == pytest.approx((0.6 + 3 * 0.9) / 4)
    assert len(two_views(bounds[0], bounds[2])) > 2, "9 rows of 20"
    assert len(two_views(bounds[0], bounds[0], (CAR, BUS))) > 2, "of two classes"


def test_each_tile_decides_in_its_core_on_objects_that_both_see():
    """Columns 40 to 60, up to row 30 in the first tile, up to row 21 in the second."""
    mosaic = Mosaic((40, 100))
    for tile, rows in zip(tiles((40, 100), 64), (slice(10, 30), slice(10, 21)), strict=True):
        pan_seg = np.ones((40, 64), dtype=np.int32)
        pan_seg[rows, slice(4, 24) if tile.is_inner[2] else slice(40, 60)] = 2
        road = SimpleNamespace(id=1, category_id=ROAD, isthing=False, score=1, area=1)
        thing = SimpleNamespace(id=2, category_id=CAR, isthing=True, score=1, area=1)
        mosaic.add(tile, pan_seg, [road, thing])
    (found, _) = mosaic.finish(0)
    assert found[3] == 10 * 20 + 10 * 11


@pytest.mark.parametrize(
    "boxes",
    [
        [(58, 62, 47, 66)],  # reaches into the core of a tile that misses it
        [(47, 56, 36, 51), (37, 42, 48, 66)],  # seen in part, then whole, then missed
    ],
)
def test_an_object_that_some_tile_sees_to_its_end_is_whole(boxes):
    scene = np.zeros((112, 98), dtype=int)
    for value, (top, bottom, left, right) in enumerate(boxes, start=1):
        scene[top:bottom, left:right] = value
    classes = [ROAD, CAR, CAR][: len(boxes) + 1]
    check(scene, classes, *joined(scene, classes, 56, seen=0.6))


def test_boxes_of_a_high_image():
    scene = np.zeros((700, 60), dtype=int)
    scene[200:300, 5:20], scene[520:530, 30:50] = 1, 2
    mosaic, segments = joined(scene, [ROAD, CAR, CAR], 64)
    masks = BitMasks(torch.from_numpy(mosaic.pan_seg[None] == np.array([1, 2])[:, None, None]))
    assert np.array_equal(mosaic.boxes(2), masks.get_bounding_boxes().tensor.numpy())
    assert len(segments) == 3


def test_things_come_by_score_and_small_stuff_becomes_void():
    scene = np.zeros((40, 40), dtype=int)
    scene[:10, :10], scene[20:30, 20:30] = 1, 2
    mosaic = Mosaic(scene.shape)
    (tile,) = tiles(scene.shape, 64)
    mosaic.add(tile, *perfect(scene, [ROAD, CAR, BUS])(tile))
    segments = mosaic.finish(stuff_area_limit=2000)
    assert [(s[0], round(s[2], 2)) for s in segments] == [(BUS, 0.52), (CAR, 0.51)]
    assert np.array_equal(np.unique(mosaic.pan_seg), [0, 1, 2]) and mosaic.pan_seg[39, 0] == 0


def test_neighbours_of_one_class_stay_two():
    """They touch, and a seam goes through both."""
    scene = np.zeros((40, 160), dtype=int)
    scene[5:20, 10:150], scene[20:35, 10:150] = 1, 2
    check(scene, [ROAD, CAR, CAR], *joined(scene, [ROAD, CAR, CAR], 64))


def test_stray_pixels_join_no_neighbours():
    """A tile that gives an object a few pixels of another one does not make them one."""
    scene = np.zeros((40, 100), dtype=int)
    scene[5:35, 30:58], scene[5:35, 66:100] = 1, 2
    mosaic, predict = Mosaic(scene.shape), perfect(scene, [ROAD, CAR, CAR])
    for number, tile in enumerate(tiles(scene.shape, 64)):
        pan_seg, segments = predict(tile)
        if number == 1:
            of_second = pan_seg[20, -1]
            pan_seg[5:8, :3] = of_second
        mosaic.add(tile, pan_seg, segments)
    assert [s[0] for s in mosaic.finish(0)] == [CAR, CAR, ROAD]
