"""A predictor that predicts an image in tiles."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks

from efficientps_d2 import InputError, Predictor, load_predictor
from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.prediction.mosaic import tiles


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


NOISE = np.random.default_rng(0).integers(0, 255, (100, 150, 3), dtype=np.uint8)


def test_a_large_image_has_one_map(model_folder):
    predictor, whole = (load_predictor(model_folder, "cpu", tile=side) for side in (64, 0))
    prediction = predictor(NOISE)
    assert prediction.panoptic_seg.shape == prediction.sem_seg.shape == (100, 150)
    areas = np.bincount(prediction.panoptic_seg.ravel(), minlength=len(prediction.segments) + 1)
    assert areas[1:].tolist() == [s.area for s in prediction.segments]
    for tile in tiles((100, 150), 64):
        seen = whole(np.ascontiguousarray(NOISE[tile.rows, tile.columns]))
        assert (prediction.sem_seg[tile.core] == seen.sem_seg[tile.inner]).all()
    with pytest.raises(InputError, match="has no logits; leave tile or logits out"):
        predictor(NOISE, logits=True)


def test_stuff_is_small_in_the_image_not_in_a_tile(model_folder):
    cfg, metadata = read_saved_model(model_folder)
    cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 1.0  # no things
    sizes = []
    for limit in (1, 5000):  # a tile has 4096 pixels
        cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = limit
        predictor = Predictor(cfg, metadata, "cpu", tile=64)
        predictor.model.sem_seg_head.predictor.bias[:2] += torch.tensor([3.0, 2.0])
        sizes.append([s.area for s in predictor(NOISE).segments if not s.isthing])
    assert sizes[1] == [area for area in sizes[0] if area >= 5000] and len(sizes[0]) > 1
    assert sizes[1]


@pytest.mark.parametrize("method", ["heuristic", "adaptive", "log_odds", "upsnet"])
def test_every_fusion_works_in_tiles(model_folder, method):
    cfg, metadata = read_saved_model(model_folder)
    cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD = method
    prediction = Predictor(cfg, metadata, "cpu", tile=64)(NOISE)
    assert prediction.segments and all(s.area and s.score > 0 for s in prediction.segments)


def test_tiny_tiles_are_refused(model_folder):
    with pytest.raises(InputError, match=r"\(--tile\) is 9; give 64 pixels or more"):
        load_predictor(model_folder, "cpu", tile=9)
