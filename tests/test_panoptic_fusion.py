"""The fusion against its dense definition, and what the paper asks of it."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from efficientps_d2 import adaptive_panoptic_fusion

SIZE = (24, 32)
VOID, THING = -1, 1000


def make_instances(boxes, scores, classes, logits, size=SIZE) -> Instances:
    return Instances(
        size,
        pred_boxes=Boxes(torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        scores=torch.as_tensor(scores, dtype=torch.float32),
        pred_classes=torch.as_tensor(classes, dtype=torch.int64),
        pred_mask_logits=torch.as_tensor(logits, dtype=torch.float32).reshape(-1, 4, 4),
    )


def dense_fusion(
    instances,
    sem_seg_logits,
    *,
    thing_class_ids,
    score_threshold,
    overlap_threshold,
    stuff_area_limit,
    mask_logit_scale,
    confine_to_box,
):
    """The definition, with a full-size map for every instance.

    Returns a map of labels: the class of stuff, THING + index of an instance, or VOID.
    """
    num_classes, height, width = sem_seg_logits.shape
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    stuff_ids = [k for k in range(num_classes) if k not in thing_class_ids]
    channels, owners = list(sem_seg_logits[stuff_ids]), [None] * len(stuff_ids)
    occupied = torch.zeros(height, width, dtype=torch.bool)
    order = sorted(range(len(instances)), key=lambda i: -float(instances.scores[i]))
    for i in order:
        x0, y0, x1, y1 = instances.pred_boxes.tensor[i].tolist()
        if not instances.scores[i] > score_threshold or x1 <= x0 or y1 <= y0:
            continue
        grid = torch.stack([(xs + 0.5 - x0) / (x1 - x0), (ys + 0.5 - y0) / (y1 - y0)], dim=-1)
        a = F.grid_sample(
            instances.pred_mask_logits[i][None, None], grid[None] * 2 - 1, align_corners=False
        )[0, 0]
        box = (xs >= np.floor(x0)) & (xs < np.ceil(x1)) & (ys >= np.floor(y0)) & (ys < np.ceil(y1))
        if confine_to_box:
            a = a * box
        mask = a.sigmoid() > 0.5
        if not mask.any() or (mask & occupied).sum() / mask.sum() > overlap_threshold:
            continue
        occupied |= mask
        b = sem_seg_logits[thing_class_ids[int(instances.pred_classes[i])]] * box
        fused = ((mask_logit_scale * a).sigmoid() + b.sigmoid()) * (mask_logit_scale * a + b)
        if confine_to_box:
            fused = torch.where(box, fused, -torch.inf)
        channels.append(fused)
        owners.append(i)
    winner = torch.stack(channels).argmax(dim=0)
    sem_seg = sem_seg_logits.argmax(dim=0)
    labels = np.full((height, width), VOID)
    for y in range(height):
        for x in range(width):
            owner = owners[winner[y, x]]
            if owner is not None:
                labels[y, x] = THING + owner
            elif int(sem_seg[y, x]) in stuff_ids:
                labels[y, x] = int(sem_seg[y, x])
    for k in stuff_ids:
        if (labels == k).sum() < stuff_area_limit:
            labels[labels == k] = VOID
    return labels


def as_labels(panoptic_seg, segments_info):
    table = [VOID] + [
        THING + s["instance_id"] if s["isthing"] else s["category_id"] for s in segments_info
    ]
    return np.array(table)[panoptic_seg.numpy()]


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 6))
    corners = rng.uniform([-1, -1], [SIZE[1] - 4, SIZE[0] - 4], (count, 2)).clip(0)
    sizes = rng.uniform(1, 20, (count, 2))
    ends = np.minimum(corners + sizes, [SIZE[1], SIZE[0]])
    classes = rng.permutation(5)
    things = sorted(classes[: draw(st.integers(1, 4))].tolist())
    instances = make_instances(
        np.concatenate([corners, ends], axis=1),
        rng.choice([0.2, 0.5, 0.51, 0.7, 0.9], count),  # with ties
        rng.integers(0, len(things), count),
        rng.normal(rng.uniform(-1, 2), 3, (count, 4, 4)),
    )
    # A negative mean makes stray pixels frequent.
    sem_seg_logits = torch.from_numpy(rng.normal(draw(st.sampled_from([-3, 0])), 3, (5, *SIZE)))
    options = {
        "thing_class_ids": things,
        "score_threshold": draw(st.sampled_from([0.0, 0.5])),
        "overlap_threshold": draw(st.sampled_from([0.2, 0.5])),
        "stuff_area_limit": draw(st.sampled_from([0, 40])),
        "mask_logit_scale": draw(st.sampled_from([1.0, 4.0])),
        "confine_to_box": draw(st.booleans()),
    }
    return instances, sem_seg_logits.float(), options


@settings(max_examples=150, deadline=None)
@given(cases())
def test_equals_dense_definition(case):
    instances, sem_seg_logits, options = case
    expected = dense_fusion(instances, sem_seg_logits, **options)
    result = adaptive_panoptic_fusion(instances, sem_seg_logits, **options)
    # Where two logits are equal to the last bits, the pixel may fall either way.
    assert (as_labels(*result) != expected).sum() <= 1


@settings(max_examples=50, deadline=None)
@given(cases())
def test_segments_describe_the_map(case):
    instances, sem_seg_logits, options = case
    panoptic_seg, segments = adaptive_panoptic_fusion(instances, sem_seg_logits, **options)
    assert panoptic_seg.dtype == torch.int32 and panoptic_seg.shape == SIZE
    assert [s["id"] for s in segments] == list(range(1, len(segments) + 1))
    counts = torch.bincount(panoptic_seg.flatten(), minlength=len(segments) + 1).tolist()
    assert [s["area"] for s in segments] == counts[1:] and min(counts[1:], default=1) > 0
    scores = [s["score"] for s in segments if s["isthing"]]
    assert scores == sorted(scores, reverse=True)
    for s in segments:
        assert isinstance(s["isthing"], bool)  # the stock evaluator tests `is True`
        assert s["isthing"] == (s["category_id"] in options["thing_class_ids"])
        if s["isthing"]:
            assert s["score"] > options["score_threshold"]


def scene(stuff=0.0, thing=0.0):
    """Logits of stuff class 0 and thing class 1."""
    return torch.stack([torch.full(SIZE, float(stuff)), torch.full(SIZE, float(thing))])


def fuse(instances, logits, **options):
    options = {"thing_class_ids": [1], "stuff_area_limit": 0, **options}
    return adaptive_panoptic_fusion(instances, logits, **options)


BOX = [8, 6, 20, 18]


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
    """AMP gives half-precision logits; a data set may have no stuff at all."""
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
