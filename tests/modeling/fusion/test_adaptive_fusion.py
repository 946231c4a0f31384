"""The fusion against its dense definition, and what the paper asks of it."""

import numpy as np
import pytest
import torch
from dense_fusion import SIZE, as_labels, dense_fusion, make_instances
from fusion_cases import BOX, cases, check_segments, scene
from hypothesis import given, settings

from efficientps_d2 import adaptive_panoptic_fusion


@settings(max_examples=150)
@given(cases())
def test_equals_dense_definition(case):
    instances, sem_seg_logits, options = case
    expected = dense_fusion(instances, sem_seg_logits, **options)
    result = adaptive_panoptic_fusion(instances, sem_seg_logits, **options)
    # Where two logits are equal to the last bits, the pixel may fall either way.
    assert (as_labels(*result) != expected).sum() <= 1


@settings(max_examples=50)
@given(cases())
def test_segments_describe_the_map(case):
    instances, sem_seg_logits, options = case
    result = adaptive_panoptic_fusion(instances, sem_seg_logits, **options)
    check_segments(*result, options)


def fuse(instances, logits, **options):
    options = {"thing_class_ids": [1], "stuff_area_limit": 0, **options}
    return adaptive_panoptic_fusion(instances, logits, **options)


def test_agreeing_heads_amplify_each_other():
    """FL of two logits 2 is 7.05: it beats a stuff logit of 7, which neither head would."""
    instances = make_instances([BOX], [0.9], [0], np.full((4, 4), 2.0))
    agree, _ = fuse(instances, scene(stuff=7.0, thing=2.0))
    assert (agree[7:17, 10:18] == 1).all()
    disagree, segments = fuse(instances, scene(stuff=7.0, thing=-2.0))
    assert (disagree != 1).all() or not segments[0]["isthing"]


def test_score_threshold_is_strict_and_ties_keep_input_order():
    logits = np.full((3, 4, 4), 4.0)
    instances = make_instances([BOX, BOX, BOX], [0.5, 0.8, 0.8], [0, 0, 0], logits)
    _, segments = fuse(instances, scene(thing=4.0), overlap_threshold=1.0)
    assert [s["instance_id"] for s in segments if s["isthing"]] == [1]
    _, segments = fuse(instances[:1], scene(thing=4.0))
    assert not any(s["isthing"] for s in segments)


def test_mostly_covered_instance_is_dropped():
    boxes = [[4, 4, 20, 20], [4, 4, 20, 14], [16, 4, 30, 14]]
    instances = make_instances(boxes, [0.9, 0.8, 0.7], [0, 0, 0], np.full((3, 4, 4), 3.0))
    _, segments = fuse(instances, scene(stuff=-9, thing=1.0))
    assert [s["instance_id"] for s in segments if s["isthing"]] == [0, 2]


def test_instance_covered_exactly_to_the_threshold_is_kept():
    boxes = [[4, 4, 20, 20], [4, 12, 20, 24], [4, 12, 20, 28]]
    logits = np.full((3, 4, 4), 3.0)
    # Of the second 16 x 12 box the first covers 8 of 12 rows, of the third 8 of 16.
    instances = make_instances(boxes, [0.9, 0.8, 0.7], [0, 0, 0], logits, (32, 32))
    sem_seg_logits = torch.stack([torch.full((32, 32), -9.0), torch.full((32, 32), 1.0)])
    _, segments = fuse(instances, sem_seg_logits)
    assert [s["instance_id"] for s in segments if s["isthing"]] == [0, 2]


def test_empty_mask_is_dropped():
    instances = make_instances([BOX], [0.9], [0], np.full((4, 4), -3.0))
    _, segments = fuse(instances, scene(stuff=-9.0, thing=8.0))
    assert segments == []


def test_instance_wins_only_inside_its_box_unless_published_behaviour_is_asked_for():
    """An undetected thing elsewhere makes all stuff logits negative, where a zero would win."""
    instances = make_instances([BOX], [0.9], [0], np.full((4, 4), 4.0))
    logits = scene(stuff=-2.0, thing=5.0)
    confined, _ = fuse(instances, logits)
    assert (confined[6:18, 8:20] == 1).all() and int((confined > 0).sum()) == 12 * 12
    published, _ = fuse(instances, logits, confine_to_box=False)
    assert (published == 1).all()


def test_small_stuff_and_unclaimed_things_become_void():
    logits = torch.full((3, *SIZE), -5.0)
    logits[0, :, :20], logits[1, :, 20:24], logits[2, :, 24:] = 5.0, 5.0, 5.0
    instances = make_instances([], [], [], [])
    options = {"thing_class_ids": [2], "stuff_area_limit": 24 * 4 + 1}
    panoptic_seg, segments = adaptive_panoptic_fusion(instances, logits, **options)
    assert [(s["category_id"], s["area"]) for s in segments] == [(0, 24 * 20)]
    assert (panoptic_seg[:, 20:] == 0).all()
    options["stuff_area_limit"] -= 1  # exactly the area is enough
    _, segments = adaptive_panoptic_fusion(instances, logits, **options)
    assert [s["category_id"] for s in segments] == [0, 1]


def test_half_precision_and_things_only_data():
    """AMP gives half-precision logits; a dataset may have no stuff at all."""
    instances = make_instances([BOX], [0.9], [1], np.full((4, 4), 4.0))
    instances.pred_mask_logits = instances.pred_mask_logits.half()
    logits = scene(stuff=1.0, thing=1.0).half()
    _, segments = adaptive_panoptic_fusion(
        instances, logits, thing_class_ids=[0, 1], stuff_area_limit=0
    )
    assert [(s["category_id"], s["area"]) for s in segments] == [(1, 144)]


def test_memory_does_not_grow_with_instances_times_pixels():
    """100 small instances allocate little more than one."""
    size = (256, 512)
    sem_seg_logits = torch.randn(19, *size)

    def allocated(count):
        x0 = torch.arange(count) % 10 * 50.0
        y0 = torch.arange(count) // 10 * 25.0
        boxes = torch.stack([x0, y0, x0 + 12, y0 + 12], dim=1)
        instances = make_instances(
            boxes, torch.full((count,), 0.9), torch.zeros(count), torch.ones(count, 4, 4), size
        )
        with torch.profiler.profile(profile_memory=True) as profile:
            adaptive_panoptic_fusion(instances, sem_seg_logits, thing_class_ids=range(11, 19))
        return sum(max(e.self_cpu_memory_usage, 0) for e in profile.events())

    one_map = 256 * 512 * 4
    assert allocated(100) - allocated(1) < 4 * one_map


@pytest.mark.parametrize("confine_to_box", [True, False])
def test_boxes_at_and_beyond_the_border(confine_to_box):
    """Boxes touching or leaving the image, and boxes without area, do no harm."""
    boxes = [[0, 0, 5.5, 5.5], [27.2, 20.1, 32, 24], [3, 3, 3, 9], [30, 22, 40, 30]]
    instances = make_instances(boxes, [0.9] * 4, [0] * 4, np.full((4, 4, 4), 3.0))
    panoptic_seg, segments = fuse(
        instances, scene(stuff=1.0, thing=3.0), confine_to_box=confine_to_box
    )
    assert 2 not in [s.get("instance_id") for s in segments]
    assert panoptic_seg[0, 0] == 1 and panoptic_seg[23, 31] > 0
