"""The merge of semantics and a box at each pixel recovers what it is told perfectly."""

import numpy as np
import torch
from detectron2.structures import Boxes, pairwise_iou
from fusion_cases import check_segments

from efficientps_d2.modeling.fusion import dense_box_fusion
from efficientps_d2.modeling.instance_heads.dense_boxes import true_centerness

SIDE = 40
STUFF, THINGS = (0, 3), (1, 2)


def layout(seed: int):
    """Rectangles of things that hide one another, on two kinds of stuff: owner of each pixel."""
    rng = np.random.default_rng(seed)
    owner = np.full((SIDE, SIDE), -1)
    classes = rng.choice(THINGS, rng.integers(1, 7)).tolist()
    for i in range(len(classes)):
        height, width = rng.integers(4, 20, 2)
        y, x = rng.integers(0, SIDE - height + 1), rng.integers(0, SIDE - width + 1)
        owner[y : y + height, x : x + width] = i
    background = np.where(np.arange(SIDE) < rng.integers(5, 35), *STUFF)[:, None]
    sem_seg = np.array([*classes, 0])[owner]
    return owner, np.where(owner < 0, background, sem_seg), classes


def oracle(owner: np.ndarray, sem_seg: np.ndarray):
    """What a perfect network gives: the box of what is seen of each instance, in all its pixels."""
    boxes, found = torch.zeros(4, *owner.shape), {}
    for i in range(owner.max() + 1):
        ys, xs = np.nonzero(owner == i)
        if len(ys):
            found[i] = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            boxes[:, torch.from_numpy(owner == i)] = torch.tensor(found[i]).float()[:, None]
    logits = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(sem_seg), 4).permute(2, 0, 1)
    return logits, boxes, found


def centered(boxes, stride=1):
    """True centerness of the pixels or cells in their boxes."""
    ys, xs = torch.meshgrid(*(torch.arange(n) + 0.5 for n in boxes.shape[1:]), indexing="ij")
    flat = boxes.flatten(1).T
    return true_centerness(flat, stride * xs.flatten(), stride * ys.flatten()).view(ys.shape)


def fuse(logits, boxes, centerness=None, **options):
    options = {"seed_threshold": 0.0, "stuff_area_limit": 0, "cell": (1, 1), **options}
    if centerness is None:
        centerness = torch.ones(boxes.shape[-2:])
    return dense_box_fusion(logits, boxes, centerness, thing_class_ids=THINGS, **options)


def test_300_layouts_are_recovered_exactly():
    """But those in which two instances of one class have nearly the same box."""
    clear = 0
    for seed in range(300):
        owner, sem_seg, classes = layout(seed)
        logits, boxes, found = oracle(owner, sem_seg)
        same = [(i, k) for i in found for k in found if i < k and classes[i] == classes[k]]
        alike = [
            float(pairwise_iou(*(Boxes(torch.tensor([found[j]]).float()) for j in pair)))
            for pair in same
        ]
        instances, (panoptic_seg, segments) = fuse(logits, boxes)
        check_segments(
            panoptic_seg, segments, {"thing_class_ids": THINGS, "score_threshold": 0.0},
            size=(SIDE, SIDE),
        )  # fmt: skip
        if max(alike, default=0) > 0.5:
            continue
        clear += 1
        masks = {m.numpy().tobytes() for m in instances.pred_masks}
        assert masks == {(owner == i).tobytes() for i in found}, seed
        table = np.array([-1] + [s["category_id"] for s in segments])
        assert (table[panoptic_seg.numpy()] == sem_seg).all(), seed
    assert clear > 250


def test_small_instances_have_seeds_beside_large_ones():
    """A large one alone has thousands of surer seeds."""
    owner = np.full((256, 512), -1)
    owner[100:250, 10:160] = owner[100:250, 180:330] = 0
    owner[100:250, 180:330] = 1
    for i in range(20):
        owner[10:28, 10 + 24 * i : 18 + 24 * i] = 2 + i
    sem_seg = np.where(owner < 0, 0, 1)
    logits, boxes, found = oracle(owner, sem_seg)
    instances, _ = fuse(logits, boxes, centerness=centered(boxes), seed_threshold=0.3)
    assert len(instances) == len(found) == 22


def test_what_is_hidden_in_its_middle_may_have_no_seed():
    """With the thresholds of the configs and a perfect network at stride 4, as docs say."""
    found, seen = 0, 0
    for seed in range(100):
        owner, sem_seg, classes = (np.kron(x, np.ones((4, 4), int)) if np.ndim(x) == 2 else x
                                   for x in layout(seed))  # fmt: skip
        logits, boxes, visible = oracle(owner, sem_seg)
        boxes = boxes[:, 2::4, 2::4]
        central = centered(boxes, stride=4)
        instances, _ = fuse(logits, boxes, centerness=central, seed_threshold=0.3, cell=(4, 4))
        masks = [m.numpy() for m in instances.pred_masks]
        found += sum(any((m == (owner == i)).all() for m in masks) for i in visible)
        seen += len(visible)
    assert found > 0.95 * seen


def test_instances_with_one_box_become_one():
    """The limit of the merge: nothing else separates the pixels of one class."""
    logits = torch.full((4, SIDE, SIDE), -9.0)
    logits[1] = 9.0
    boxes = torch.zeros(4, SIDE, SIDE)
    boxes[:, :, :20] = torch.tensor([0.0, 0, 30, 40])[:, None, None]
    boxes[:, :, 20:] = torch.tensor([5.0, 0, 35, 40])[:, None, None]
    instances, _ = fuse(logits, boxes)
    assert len(instances) == 1 and instances.pred_masks.all()


def test_pixels_whose_box_is_like_no_other_are_void():
    owner, sem_seg = np.zeros((SIDE, SIDE), dtype=int), np.ones((SIDE, SIDE), dtype=int)
    logits, boxes, _ = oracle(owner, sem_seg)
    boxes[:, :10, :10] = torch.tensor([0.0, 0, 10, 10])[:, None, None]
    # Seeds are where the class is surest.
    logits[0, :10, :10] = 19.0
    _, (panoptic_seg, segments) = fuse(logits, boxes, seed_threshold=0.9)
    assert len(segments) == 1 and (panoptic_seg[:10, :10] == 0).all()
    assert (panoptic_seg[10:] == 1).all()


def test_cells_may_be_larger_than_pixels():
    owner, sem_seg = np.full((SIDE, SIDE), -1), np.zeros((SIDE, SIDE), dtype=int)
    owner[8:20, 12:24], owner[20:36, 12:32] = 0, 1
    sem_seg[owner >= 0] = 2
    logits, boxes, found = oracle(owner, sem_seg)
    instances, _ = fuse(logits, boxes[:, 2::4, 2::4], cell=(4, 4))
    assert {tuple(box) for box in instances.pred_boxes.tensor.tolist()} == {
        tuple(float(side) for side in box) for box in found.values()
    }
    assert (
        sum(int((m.numpy() == (owner == i)).all()) for m in instances.pred_masks for i in (0, 1))
        == 2
    )


def test_data_without_things_and_without_stuff():
    logits, boxes = torch.zeros(2, SIDE, SIDE), torch.zeros(4, SIDE, SIDE)
    logits[1] += 9
    options = {"cell": (1, 1), "stuff_area_limit": 0}
    instances, (panoptic_seg, segments) = dense_box_fusion(
        logits, boxes, torch.ones(SIDE, SIDE), thing_class_ids=[], **options
    )
    assert len(instances) == 0 and [s["category_id"] for s in segments] == [1]
    boxes[2:] = float(SIDE)
    instances, (panoptic_seg, segments) = dense_box_fusion(
        logits, boxes, torch.ones(SIDE, SIDE), thing_class_ids=[0, 1], **options
    )
    assert instances.pred_classes.tolist() == [1] and segments[0]["area"] == SIDE * SIDE
