"""The fusion by log-odds against its dense definition, and what it is for."""

import numpy as np
import pytest
from dense_fusion import THING, as_labels, dense_log_odds_fusion, make_instances
from detectron2.modeling import build_model
from fusion_cases import BOX, cases, check_segments, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2 import InputError, log_odds_panoptic_fusion


@st.composite
def log_odds_cases(draw):
    instances, sem_seg_logits, options = draw(cases())
    for key in ("mask_logit_scale", "confine_to_box"):
        del options[key]
    options["semantic_weight"] = draw(st.sampled_from([0.0, 0.2, 1.0]))
    return instances, sem_seg_logits, options


@settings(max_examples=150)
@given(log_odds_cases())
def test_equals_dense_definition(case):
    instances, sem_seg_logits, options = case
    expected = dense_log_odds_fusion(instances, sem_seg_logits, **options)
    result = log_odds_panoptic_fusion(instances, sem_seg_logits, **options)
    # Where a sum is zero to the last bits, the pixel may fall either way.
    assert (as_labels(*result) != expected).sum() <= 1


@settings(max_examples=50)
@given(log_odds_cases(), st.floats(-20, 20))
def test_a_common_offset_of_the_semantic_logits_changes_nothing(case, offset):
    instances, sem_seg_logits, options = case
    labels = as_labels(*log_odds_panoptic_fusion(instances, sem_seg_logits, **options))
    moved = as_labels(*log_odds_panoptic_fusion(instances, sem_seg_logits + offset, **options))
    assert (labels != moved).mean() < 0.01


@settings(max_examples=50)
@given(log_odds_cases())
def test_segments_describe_the_map(case):
    instances, sem_seg_logits, options = case
    check_segments(*log_odds_panoptic_fusion(instances, sem_seg_logits, **options), options)


def fuse(instances, logits, **options):
    options = {"thing_class_ids": [1], "stuff_area_limit": 0, **options}
    return log_odds_panoptic_fusion(instances, logits, **options)


@pytest.mark.parametrize(
    ("mask_logit", "thing", "is_instance"),
    [
        (0.5, -1.0, True),  # 0.5 - 0.3 * 1
        (0.5, -3.0, False),  # 0.5 - 0.3 * 3
        (-0.5, 3.0, True),
        (2.0, -90.0, True),  # the semantic head alone is never enough against a sure mask,
        (-2.0, 90.0, False),  # nor for one against it
    ],
)
def test_the_semantic_head_decides_where_the_mask_is_unsure(mask_logit, thing, is_instance):
    instances = make_instances([BOX], [0.9], [0], np.full((4, 4), mask_logit))
    panoptic_seg, segments = fuse(instances, scene(stuff=0.0, thing=thing))
    assert any(s["isthing"] for s in segments) == is_instance
    if is_instance:
        assert (panoptic_seg[6:18, 8:20] == 1).all(), "in all of its box"


def test_the_surer_of_two_instances_gets_a_pixel():
    """The merge of Panoptic FPN would give it to the one with the higher score."""
    boxes, logits = [[4, 4, 20, 20], [14, 4, 30, 20]], np.stack([np.ones((4, 4)), np.ones((4, 4))])
    logits[1] *= 3
    instances = make_instances(boxes, [0.9, 0.8], [0, 0], logits)
    labels = as_labels(*fuse(instances, scene(thing=0.0)))
    assert (labels[8:16, 16:18] == THING + 1).all() and (labels[8:16, 4:12] == THING).all()


def test_without_stuff_things_have_their_masks():
    instances = make_instances([BOX], [0.9], [1], np.full((4, 4), 4.0))
    instances.pred_mask_logits = instances.pred_mask_logits.half()
    _, segments = fuse(instances, scene(stuff=1.0, thing=1.0).half(), thing_class_ids=[0, 1])
    assert [(s["category_id"], s["area"]) for s in segments] == [(1, 144)]


def test_keys_of_the_other_rule_are_refused(toy, tiny_config):
    for key, value in (("MASK_LOGIT_SCALE", 4.0), ("CONFINE_TO_BOX", False)):
        rule = ("MODEL.PANOPTIC_FPN.COMBINE.METHOD", "log_odds")
        cfg = tiny_config(toy, *rule, f"MODEL.PANOPTIC_FPN.COMBINE.{key}", value)
        with pytest.raises(InputError, match='are for METHOD "adaptive"'):
            build_model(cfg)
