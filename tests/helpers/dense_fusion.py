"""The fusion by its definition, over all pixels and instances at once, as the tests' reference."""

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch.nn import functional as F

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


def paste(instance: Instances, height: int, width: int, padding_mode: str):
    """The mask logits of one instance over the whole image, and the pixels that its box touches."""
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x0, y0, x1, y1 = instance.pred_boxes.tensor[0].tolist()
    grid = torch.stack([(xs + 0.5 - x0) / (x1 - x0), (ys + 0.5 - y0) / (y1 - y0)], dim=-1)
    logits = F.grid_sample(
        instance.pred_mask_logits[None],
        grid[None] * 2 - 1,
        align_corners=False,
        padding_mode=padding_mode,
    )[0, 0]
    box = (xs >= np.floor(x0)) & (xs < np.ceil(x1)) & (ys >= np.floor(y0)) & (ys < np.ceil(y1))
    return logits, box


def by_score(instances: Instances, score_threshold: float) -> list[int]:
    """Indices of those with a box and a score above the threshold, the best first."""
    order = sorted(range(len(instances)), key=lambda i: -float(instances.scores[i]))
    corners = instances.pred_boxes.tensor.tolist()
    has_area = [x1 > x0 and y1 > y0 for x0, y0, x1, y1 in corners]
    return [i for i in order if instances.scores[i] > score_threshold and has_area[i]]


def without_small(labels, stuff_ids, stuff_area_limit: int):
    """The labels, void where a class of stuff has too few pixels."""
    for k in stuff_ids:
        if (labels == k).sum() < stuff_area_limit:
            labels[labels == k] = VOID
    return labels


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
    stuff_ids = [k for k in range(num_classes) if k not in thing_class_ids]
    channels, owners = list(sem_seg_logits[stuff_ids]), [None] * len(stuff_ids)
    occupied = torch.zeros(height, width, dtype=torch.bool)
    for i in by_score(instances, score_threshold):
        a, box = paste(instances[i], height, width, "zeros")
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
    return without_small(labels, stuff_ids, stuff_area_limit)


def dense_log_odds_fusion(
    instances,
    sem_seg_logits,
    *,
    thing_class_ids,
    score_threshold,
    overlap_threshold,
    stuff_area_limit,
    semantic_weight,
):
    """The definition of the fusion by log-odds; labels as of :func:`dense_fusion`."""
    num_classes, height, width = sem_seg_logits.shape
    stuff_ids = [k for k in range(num_classes) if k not in thing_class_ids]
    occupied = torch.zeros(height, width, dtype=torch.bool)
    best, owner = torch.zeros(height, width), torch.full((height, width), -1)
    for i in by_score(instances, score_threshold):
        a, box = paste(instances[i], height, width, "border")
        thing = sem_seg_logits[thing_class_ids[int(instances.pred_classes[i])]]
        stuff = sem_seg_logits[stuff_ids].logsumexp(dim=0)
        log_odds = a + semantic_weight * (thing - stuff).clamp(-6, 6)
        log_odds = torch.where(box, log_odds, -torch.inf)
        mask = log_odds > 0
        if not mask.any() or (mask & occupied).sum() / mask.sum() > overlap_threshold:
            continue
        occupied |= mask
        owner = torch.where(log_odds > best, i, owner)
        best = torch.maximum(best, log_odds)
    labels = owner.numpy() + THING
    sem_seg = sem_seg_logits.argmax(dim=0).numpy()
    labels[owner < 0] = np.where(np.isin(sem_seg, stuff_ids), sem_seg, VOID)[owner < 0]
    return without_small(labels, stuff_ids, stuff_area_limit)


def dense_upsnet_fusion(
    instances,
    sem_seg_logits,
    *,
    thing_class_ids,
    score_threshold,
    overlap_threshold,
    stuff_area_limit,
):
    """The definition of UPSNet's inference; labels as of :func:`dense_fusion`."""
    num_classes, height, width = sem_seg_logits.shape
    stuff_ids = [k for k in range(num_classes) if k not in thing_class_ids]
    kept, covered, boxes = [], {}, instances.pred_boxes
    for i in by_score(instances, score_threshold):
        if not any(pairwise_iou(boxes[i], boxes[k]) > 0.5 for k in kept):
            kept.append(i)
    channels, owners, crops = [], [], []
    for i in kept:
        class_id = int(instances.pred_classes[i])
        pasted, box = paste(instances[i], height, width, "border")
        mask = (pasted > 0) & box
        taken = covered.setdefault(class_id, torch.zeros(height, width, dtype=torch.bool))
        if not mask.any() or (mask & taken).sum() / mask.sum() > overlap_threshold:
            continue
        taken |= mask
        crops.append(sem_seg_logits[thing_class_ids[class_id]] * box)
        channels.append(crops[-1] + pasted * box)
        owners.append(i)
    unknown = sem_seg_logits[thing_class_ids].amax(dim=0)
    if crops:
        unknown = unknown - torch.stack(crops).amax(dim=0)
    best = torch.stack([*sem_seg_logits[stuff_ids], *channels, unknown]).argmax(dim=0).numpy()
    labels = np.array([*stuff_ids, *(THING + i for i in owners), VOID])[best]
    sem_seg = sem_seg_logits.argmax(dim=0).numpy()
    for i in owners:
        region = labels == THING + i
        counts = np.bincount(sem_seg[region], minlength=num_classes)
        majority = int(counts.argmax())
        if region.any() and majority in stuff_ids and 2 * counts[majority] >= region.sum():
            labels[region] = majority
    return without_small(labels, stuff_ids, stuff_area_limit)


def as_labels(panoptic_seg, segments_info):
    table = [VOID] + [
        THING + s["instance_id"] if s["isthing"] else s["category_id"] for s in segments_info
    ]
    return np.array(table)[panoptic_seg.numpy()]
