"""Tiles join to one panoptic map in which objects across seams are whole, and there once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2 import InputError, load_predictor
from efficientps_d2.prediction.mosaic import Mosaic, tiles

ROAD, CAR, BUS = 0, 1, 2


@settings(max_examples=100, deadline=None)
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
    """Rectangles that do not overlap, of two classes."""
    scene = np.zeros((draw(st.integers(20, 150)), draw(st.integers(20, 150))), dtype=int)
    classes = [ROAD]
    for _ in range(draw(st.integers(0, 12))):
        y, x = (draw(st.integers(0, length - 8)) for length in scene.shape)
        h, w = draw(st.integers(4, largest)), draw(st.integers(4, largest))
        if not scene[y : y + h, x : x + w].any():
            scene[y : y + h, x : x + w] = len(classes)
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


@settings(max_examples=150, deadline=None)
@given(scenes(), st.integers(32, 90))
def test_objects_of_any_size_are_joined(case, side):
    check(*case, *joined(*case, side))


@settings(max_examples=150, deadline=None)
@given(scenes(largest=12), st.integers(56, 90), st.sampled_from([0.3, 0.6, 0.9]))
def test_small_objects_that_are_missed_at_the_sides_of_tiles_are_whole(case, side, seen):
    """Every one of them lies in some tile as a whole."""
    check(*case, *joined(*case, side, seen=seen))


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


def test_an_image_that_fits_is_the_same_tiled_or_not(model_folder):
    image = np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    whole, tiled = (load_predictor(model_folder, "cpu", tile=side)(image) for side in (0, 160))
    assert (whole.panoptic_seg == tiled.panoptic_seg).all() and len(whole.segments) > 1
    assert (whole.sem_seg == tiled.sem_seg).all()
    assert [(s.name, s.area) for s in whole.segments] == [(s.name, s.area) for s in tiled.segments]
    things = [s for s in tiled.segments if s.isthing]
    masks = tiled.instances.pred_masks
    assert masks.flatten(1).sum(dim=1).tolist() == [s.area for s in things]
    if things:
        boxes = BitMasks(masks).get_bounding_boxes().tensor
        assert torch.equal(tiled.instances.pred_boxes.tensor, boxes)


def test_a_large_image_has_one_map(model_folder):
    image = np.random.default_rng(0).integers(0, 255, (150, 300, 3), dtype=np.uint8)
    prediction = load_predictor(model_folder, "cpu", tile=64)(image)
    assert prediction.panoptic_seg.shape == prediction.sem_seg.shape == (150, 300)
    areas = np.bincount(prediction.panoptic_seg.ravel(), minlength=len(prediction.segments) + 1)
    assert areas[1:].tolist() == [s.area for s in prediction.segments]


def test_tiny_tiles_are_refused(model_folder):
    with pytest.raises(InputError, match="A tile has 9 pixels; give 64 or more"):
        load_predictor(model_folder, "cpu", tile=9)
