"""UPSNet's panoptic head against its dense definition, and what it is for."""

import numpy as np
import torch
from dense_fusion import SIZE, THING, VOID, as_labels, dense_upsnet_fusion, make_instances
from fusion_cases import BOX, cases, check_segments, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2 import upsnet_panoptic_fusion
from efficientps_d2.modeling.fusion import semantic_logits


@st.composite
def upsnet_cases(draw):
    instances, sem_seg_logits, options = draw(cases())
    for key in ("mask_logit_scale", "confine_to_box"):
        del options[key]
    return instances, sem_seg_logits, options


@settings(max_examples=150)
@given(upsnet_cases(), st.sampled_from([5, 64]))
def test_equals_dense_definition(case, rows):
    instances, sem_seg_logits, options = case
    expected = dense_upsnet_fusion(instances, sem_seg_logits, **options)
    before, semantic_logits.STRIP = semantic_logits.STRIP, rows
    try:
        result = upsnet_panoptic_fusion(instances, sem_seg_logits, **options)
    finally:
        semantic_logits.STRIP = before
    # Where two logits are equal to the last bits, the pixel may fall either way.
    assert (as_labels(*result) != expected).sum() <= 1


@settings(max_examples=50)
@given(upsnet_cases())
def test_segments_describe_the_map(case):
    instances, sem_seg_logits, options = case
    check_segments(*upsnet_panoptic_fusion(instances, sem_seg_logits, **options), options)


def fuse(instances, logits, **options):
    options = {"thing_class_ids": [1], "stuff_area_limit": 0, **options}
    return upsnet_panoptic_fusion(instances, logits, **options)


def test_a_thing_that_no_instance_claims_is_unknown():
    """It would be stuff by the merge of Panoptic FPN if its logit were a little smaller."""
    instances = make_instances([BOX], [0.9], [0], np.full((4, 4), 4.0))
    logits = scene(stuff=1.0, thing=5.0)
    labels = as_labels(*fuse(instances, logits))
    assert (labels[6:18, 8:20] == THING).all() and (labels == VOID).sum() == labels.size - 144
    assert (as_labels(*fuse(instances[:0], logits)) == VOID).all()
    assert (as_labels(*fuse(instances[:0], -logits)) == 0).all(), "stuff without any instance"


def test_a_region_that_the_semantic_head_calls_stuff_becomes_stuff():
    instances = make_instances([BOX], [0.9], [0], np.full((4, 4), 9.0))
    assert (as_labels(*fuse(instances, scene(stuff=1.0, thing=0.0))) == 0).all()
    logits = scene(stuff=1.0, thing=0.0)
    logits[1, :13] = 2.0  # the upper half of the box is a thing, and a row more
    assert (as_labels(*fuse(instances, logits))[6:18, 8:20] == THING).all()
    logits[1, 12] = 0.0  # half is enough
    assert (as_labels(*fuse(instances, logits))[6:18, 8:20] == 0).all()


def test_instances_of_other_classes_do_not_remove_each_other():
    boxes = [[4, 4, 16, 20], [8, 4, 20, 20]]
    instances = make_instances(boxes, [0.9, 0.8], [0, 0], np.full((2, 4, 4), 3.0))
    logits = torch.zeros(3, *SIZE)
    logits[0] -= 9
    _, segments = fuse(instances, logits, thing_class_ids=[1, 2])
    assert [s["instance_id"] for s in segments if s["isthing"]] == [0]  # 8 of 12 columns are taken
    instances.pred_classes[1] = 1
    instances.pred_mask_logits[1] += 1
    _, segments = fuse(instances, logits, thing_class_ids=[1, 2])
    assert [s["instance_id"] for s in segments if s["isthing"]] == [0, 1]


def test_data_without_stuff_or_without_things():
    instances = make_instances([BOX], [0.9], [1], np.full((4, 4), 4.0))
    instances.pred_mask_logits = instances.pred_mask_logits.half()
    _, segments = fuse(instances, scene(stuff=1.0, thing=1.0).half(), thing_class_ids=[0, 1])
    assert [(s["category_id"], s["area"]) for s in segments] == [(1, 144)]
    _, segments = fuse(instances[:0], scene(stuff=0.0, thing=1.0), thing_class_ids=[])
    assert [(s["category_id"], s["area"]) for s in segments] == [(1, SIZE[0] * SIZE[1])]
