"""A merge of semantic logits and a box at each pixel that has no parameters."""

from collections.abc import Sequence

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor
from torch.nn import functional as F

from efficientps_d2.modeling.fusion.shared import assemble

NMS_THRESHOLD = 0.5


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
    max_instances: int = 100,
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
        max_instances: largest number of instances.

    Returns:
        ``instances`` with ``pred_boxes``, ``scores``, ``pred_classes`` (0..things-1) and
        ``pred_masks`` (N, H, W) bool, and the panoptic result as of
        :func:`adaptive_panoptic_fusion`.
    """
    sem_seg_logits = sem_seg_logits.float()
    sem_seg = sem_seg_logits.argmax(dim=0)
    label, probability = _at_cells(sem_seg_logits, centerness.shape, cell)
    scores = F.threshold(probability * centerness, seed_threshold, 0.0)
    seeds = torch.isin(label, label.new_tensor(list(thing_class_ids))) & (scores > 0)
    found = _agreed(boxes[:, seeds].T, scores[seeds], label[seeds], max_instances)
    instances = Instances(tuple(sem_seg.shape), **found)
    winner = _winners(sem_seg, label, boxes, instances, cell, join_threshold)
    instances, winner = _with_pixels(instances, winner)
    detector_class = torch.zeros_like(sem_seg_logits[:, 0, 0], dtype=torch.int64)
    detector_class[list(thing_class_ids)] = torch.arange(len(thing_class_ids), device=label.device)
    instances.pred_classes = detector_class[instances.pred_classes]
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
    height, width = logits.shape[-2:]
    rows = _centers(size[0], cell[0], height, logits.device)
    columns = _centers(size[1], cell[1], width, logits.device)
    probability, label = logits[:, rows][:, :, columns].softmax(dim=0).max(dim=0)
    return label, probability


def _centers(count: int, step: float, length: int, device) -> Tensor:
    """(count,) index, in a grid of ``length``, of the centres of steps."""
    return ((torch.arange(count, device=device) + 0.5) * step).long().clamp(max=length - 1)


def _agreed(boxes: Tensor, scores: Tensor, classes: Tensor, max_instances: int) -> dict:
    """Boxes that seeds agree on, the best first: NMS without a limit on the number of seeds.

    A few large instances have most of the seeds; a limit would leave small ones without any.
    """
    kept, left = [], scores.clone()
    while len(kept) < max_instances and len(left) and left.max() > 0:
        best = int(left.argmax())
        kept.append(best)
        alike = pairwise_iou(Boxes(boxes), Boxes(boxes[best : best + 1]))[:, 0] > NMS_THRESHOLD
        left[alike & (classes == classes[best])] = 0
        left[best] = 0  # also if its box has no area
    return {
        "pred_boxes": Boxes(boxes[kept]),
        "scores": scores[kept],
        "pred_classes": classes[kept],
    }


def _winners(
    sem_seg: Tensor,
    label: Tensor,
    boxes: Tensor,
    instances: Instances,
    cell: tuple[float, float],
    join_threshold: float,
) -> Tensor:
    """(H, W) int32 index of the instance that a pixel joins, -1 for none."""
    (height, width), (rows, columns) = sem_seg.shape, label.shape
    rows = _centers(height, 1 / cell[0], rows, label.device)
    columns = _centers(width, 1 / cell[1], columns, label.device)
    winner = torch.full_like(sem_seg, -1, dtype=torch.int32)
    for class_id in instances.pred_classes.unique().tolist():
        own = (instances.pred_classes == class_id).nonzero().flatten()
        joined = _join(label == class_id, boxes, instances.pred_boxes[own], join_threshold)
        rank = torch.cat([own, own.new_tensor([-1])])[joined].int()
        winner = torch.where(sem_seg == class_id, rank[rows][:, columns], winner)
    return winner


def _with_pixels(instances: Instances, winner: Tensor) -> tuple[Instances, Tensor]:
    """The instances that won pixels, and the (H, W) int32 map of their numbers."""
    areas = torch.bincount((winner + 1).flatten(), minlength=len(instances) + 1)[1:]
    number = torch.cat([areas.new_tensor([-1]), (areas > 0).cumsum(0) - 1]).int()
    return instances[areas > 0], number[(winner + 1).long()]


def _join(of_class: Tensor, boxes: Tensor, found: Boxes, join_threshold: float) -> Tensor:
    """(h, w) index of the box most like that of a cell, or their number if none is like it.

    Cells beside those of the class count, too: their pixels may be of the class.
    """
    near = F.max_pool2d(of_class[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
    joined = torch.full_like(near, len(found), dtype=torch.long)
    iou, best = pairwise_iou(Boxes(boxes[:, near].T), found).max(dim=1)
    joined[near] = torch.where(iou > join_threshold, best, len(found))
    return joined
