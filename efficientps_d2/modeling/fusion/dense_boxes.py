"""A merge of semantic logits and a box at each pixel that has no parameters."""

from collections.abc import Sequence

import torch
from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor
from torch.nn import functional as F

from efficientps_d2.modeling.fusion.shared import assemble

NMS_THRESHOLD = 0.5
MOST_SEEDS = 1000  # of an image, before NMS
MOST_INSTANCES = 100


@torch.no_grad()
def dense_box_fusion(
    sem_seg_logits: Tensor,
    boxes: Tensor,
    centerness: Tensor,
    *,
    cell: tuple[float, float],
    thing_class_ids: Sequence[int],
    seed_threshold: float = 0.3,
    join_threshold: float = 0.3,
    stuff_area_limit: int = 2048,
) -> tuple[Instances, tuple[Tensor, list[dict]]]:
    """Group the pixels of things by the boxes that they point to.

    Cells that are likely things and central are seeds; NMS of their boxes, class by class, leaves
    one for each instance. A pixel of a thing class joins the instance of that class whose box is
    most like its own, and is void if none is like it. Two instances of one class whose boxes
    overlap by more than half become one.

    Args:
        sem_seg_logits: (K, H, W) logits of all classes.
        boxes: (4, h, w) box of each cell, in pixels of the semantic logits.
        centerness: (h, w), from 0 to 1.
        cell: height and width of a cell in pixels.
        thing_class_ids: semantic channel of each thing class.
        seed_threshold: least probability of the class times centerness of a seed.
        join_threshold: least IoU of the boxes of a pixel and its instance.
        stuff_area_limit: smallest area of a stuff segment, in pixels.

    Returns:
        ``instances`` with ``pred_boxes``, ``scores``, ``pred_classes`` (0..things-1) and
        ``pred_masks`` (N, H, W) bool, and the panoptic result as of
        :func:`adaptive_panoptic_fusion`.
    """
    sem_seg_logits = sem_seg_logits.float()
    sem_seg = sem_seg_logits.argmax(dim=0)
    label, probability = _at_cells(sem_seg_logits, centerness.shape, cell)
    scores = F.threshold(probability * centerness, seed_threshold, 0.0)
    instances = _instances(label, scores, boxes, thing_class_ids, tuple(sem_seg.shape))
    cells = [
        ((torch.arange(side, device=sem_seg.device) + 0.5) / length).long().clamp(max=count - 1)
        for side, length, count in zip(sem_seg.shape, cell, centerness.shape, strict=True)
    ]
    winner = torch.full_like(sem_seg, -1, dtype=torch.int32)
    for class_id, own in _by_class(instances, thing_class_ids):
        joined = _join(label == class_id, boxes, instances.pred_boxes[own], join_threshold)
        rank = torch.cat([own, own.new_tensor([-1])])[joined].int()
        rank = rank[cells[0]][:, cells[1]]
        winner = torch.where(sem_seg == class_id, rank, winner)
    ranks = torch.arange(len(instances), device=winner.device)
    instances.pred_masks = winner == ranks[:, None, None]
    panoptic = assemble(
        winner,
        ranks,
        instances,
        sem_seg,
        num_classes=len(sem_seg_logits),
        thing_class_ids=list(thing_class_ids),
        stuff_area_limit=stuff_area_limit,
    )
    return instances, panoptic


def _at_cells(
    logits: Tensor, size: tuple[int, int], cell: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """(h, w) most likely class at the centre of each cell, and its probability."""
    rows, columns = (
        ((torch.arange(count, device=logits.device) + 0.5) * length).long().clamp(max=side - 1)
        for count, length, side in zip(size, cell, logits.shape[-2:], strict=True)
    )
    probability, label = logits[:, rows][:, :, columns].softmax(dim=0).max(dim=0)
    return label, probability


def _instances(
    label: Tensor,
    scores: Tensor,
    boxes: Tensor,
    thing_class_ids: Sequence[int],
    image_size: tuple[int, int],
) -> Instances:
    """The boxes that seeds, which have a score, agree on, by descending score."""
    things = torch.as_tensor(thing_class_ids, dtype=label.dtype, device=label.device)
    is_seed = torch.isin(label, things) & (scores > 0)
    scores, order = scores[is_seed].sort(descending=True, stable=True)
    scores, order = scores[:MOST_SEEDS], order[:MOST_SEEDS]
    found, classes = boxes[:, is_seed].T[order], label[is_seed][order]
    classes = (classes[:, None] == things).long().argmax(dim=1) if len(things) else classes
    keep = batched_nms(found, scores, classes, NMS_THRESHOLD)[:MOST_INSTANCES]
    return Instances(
        image_size,
        pred_boxes=Boxes(found[keep]),
        scores=scores[keep],
        pred_classes=classes[keep],
    )


def _by_class(instances: Instances, thing_class_ids: Sequence[int]):
    """The semantic channel, and indices of the instances, of each class that was found."""
    for detector_class in instances.pred_classes.unique().tolist():
        own = (instances.pred_classes == detector_class).nonzero().flatten()
        yield thing_class_ids[detector_class], own


def _join(of_class: Tensor, boxes: Tensor, found: Boxes, join_threshold: float) -> Tensor:
    """(h, w) index of the box most like that of a cell, or their number if none is like it.

    Cells beside those of the class count, too: their pixels may be of the class.
    """
    near = F.max_pool2d(of_class[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
    joined = torch.full_like(near, len(found), dtype=torch.long)
    iou, best = pairwise_iou(Boxes(boxes[:, near].T), found).max(dim=1)
    joined[near] = torch.where(iou > join_threshold, best, len(found))
    return joined
