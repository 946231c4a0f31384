"""Parts of enlarged logits are those of the whole, and every fusion takes them."""

import numpy as np
import pytest
import torch
from dense_fusion import make_instances
from detectron2.modeling.postprocessing import sem_seg_postprocess
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from efficientps_d2 import (
    adaptive_panoptic_fusion,
    log_odds_panoptic_fusion,
    upsnet_panoptic_fusion,
)
from efficientps_d2.modeling.fusion import semantic_logits
from efficientps_d2.modeling.fusion.heuristic import heuristic_panoptic_fusion
from efficientps_d2.modeling.fusion.semantic_logits import ResizedLogits, SemanticLogits


def enlarged(source, size, stride):
    large = F.interpolate(source[None], scale_factor=stride, mode="bilinear", align_corners=False)
    return large[0, :, : size[0], : size[1]]


@st.composite
def parts(draw, end):
    start = draw(st.integers(0, end))
    return slice(start, draw(st.integers(start, end)))


@settings(max_examples=150)
@given(st.data(), st.sampled_from([1, 4, 8]), st.integers(1, 30), st.integers(1, 9))
def test_crops_are_those_of_the_whole(data, stride, height, width):
    torch.manual_seed(data.draw(st.integers(0, 99)))
    source = torch.randn(5, height, width)
    size = (data.draw(st.integers(1, height * stride)), data.draw(st.integers(1, width * stride)))
    logits, whole = SemanticLogits(source, size, stride), enlarged(source, size, stride)
    rows, columns = data.draw(parts(size[0])), data.draw(parts(size[1]))
    torch.testing.assert_close(logits.crop(rows, columns), whole[:, rows, columns])
    torch.testing.assert_close(logits.crop(rows, columns, 3), whole[3, rows, columns])
    torch.testing.assert_close(logits.full(), whole)
    assert logits.shape == whole.shape
    assert torch.equal(logits.argmax(dim=0), whole.argmax(dim=0))


@settings(max_examples=100)
@given(st.data(), st.integers(1, 12), st.integers(1, 9))
def test_resized_crops_are_those_of_the_whole(data, height, width):
    torch.manual_seed(data.draw(st.integers(0, 99)))
    inner = (data.draw(st.integers(1, height * 4)), data.draw(st.integers(1, width * 4)))
    size = (data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70)))
    source = torch.randn(5, height, width)
    logits = ResizedLogits(SemanticLogits(source, inner, 4), size)
    whole = sem_seg_postprocess(enlarged(source, inner, 4), inner, *size)
    rows, columns = data.draw(parts(size[0])), data.draw(parts(size[1]))
    close = {"rtol": 0, "atol": 1e-4}
    torch.testing.assert_close(logits.crop(rows, columns), whole[:, rows, columns], **close)
    torch.testing.assert_close(logits.crop(rows, columns, 3), whole[3, rows, columns], **close)
    torch.testing.assert_close(logits.full(), whole, **close)
    assert logits.shape == whole.shape


@pytest.mark.parametrize("stride", [1, 4])
def test_a_few_rows_are_in_memory(stride):
    """In single precision, whatever the source has."""
    source = torch.randn(3, 260 // stride, 8).half()
    logits = SemanticLogits(source, (250, 8), stride)
    for shown in (logits, ResizedLogits(logits, (300, 20))):
        strips = list(shown.strips())
        assert max(strip.shape[1] for _, strip in strips) == 64
        assert {strip.dtype for _, strip in strips} == {torch.float32}
        assert torch.equal(torch.cat([strip for _, strip in strips], dim=1), shown.full())


def test_the_first_of_equal_classes_is_named():
    assert SemanticLogits(torch.zeros(3, 70, 2)).argmax().unique().tolist() == [0]


RULES = {
    "adaptive": adaptive_panoptic_fusion,
    "log_odds": log_odds_panoptic_fusion,
    "upsnet": upsnet_panoptic_fusion,
    "heuristic": heuristic_panoptic_fusion,
}


def test_few_logits_are_enlarged_once(monkeypatch):
    logits = ResizedLogits(SemanticLogits(torch.randn(3, 10, 14), (40, 55), 4), (20, 30))
    few = logits.enlarged_if_small()
    torch.testing.assert_close(few.source, logits.full())
    assert few.shape == logits.shape and few.stride == 1
    monkeypatch.setattr(semantic_logits, "SMALL", 3 * 20 * 30 - 1)
    assert logits.enlarged_if_small() is logits


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_what_it_gives_for_a_tensor(rule, monkeypatch):
    monkeypatch.setattr(semantic_logits, "STRIP", 12)
    torch.manual_seed(0)
    source, size = torch.randn(5, 10, 14), (38, 53)
    boxes = np.array([[3, 2, 30, 30], [20, 10, 53, 38], [0, 20, 12, 38]], dtype=float)
    instances = make_instances(
        boxes, np.array([0.9, 0.8, 0.7]), np.array([0, 1, 0]), torch.randn(3, 4, 4).numpy() + 1
    )
    instances._image_size = size
    instances.pred_masks = torch.rand(3, *size) > 0.5
    options = {"thing_class_ids": [1, 4], "stuff_area_limit": 5}
    options |= {"score_threshold": 0.1, "overlap_threshold": 0.5}
    expected = RULES[rule](instances, enlarged(source, size, 4), **options)
    found = RULES[rule](instances, SemanticLogits(source, size, 4), **options)
    assert torch.equal(found[0], expected[0]) and found[1] == expected[1]
    assert len(found[1]) > 3


@pytest.mark.parametrize("rule", RULES)
def test_stuff_below_instances_is_no_segment(rule):
    """Though any number of pixels would be enough."""
    box, size = np.array([[0, 0, 16, 16]], dtype=float), (16, 32)
    instances = make_instances(box, np.array([0.9]), np.array([0]), np.full((1, 4, 4), 9.0))
    instances._image_size = size
    instances.pred_masks = torch.zeros(1, *size, dtype=torch.bool)
    instances.pred_masks[:, :, :16] = True
    logits = torch.zeros(3, *size)
    logits[1, :, :16], logits[2, :, 16:] = 1, 1  # class 1 lies below the instance
    options = {"score_threshold": 0.1, "overlap_threshold": 0.5, "stuff_area_limit": 0}
    pan_seg, segments = RULES[rule](instances, logits, thing_class_ids=[0], **options)
    areas = torch.bincount(pan_seg.flatten().long(), minlength=9)
    assert segments and all(areas[segment["id"]] for segment in segments)
