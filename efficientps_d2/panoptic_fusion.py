"""The adaptive panoptic fusion of EfficientPS, as one pure function."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.structures import Instances
from torch import Tensor

VOID = 0  # panoptic id of pixels without a segment


class Window(NamedTuple):
    """A rectangle of pixels, half-open."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def intersect(self, other: "Window") -> "Window":
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        y1, x1 = max(y0, min(self.y1, other.y1)), max(x0, min(self.x1, other.x1))
        return Window(y0, y1, x0, x1)

    def within(self, outer: "Window") -> tuple[slice, slice]:
        """Slices of this window in an array that covers ``outer``."""
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0),
            slice(self.x0 - outer.x0, self.x1 - outer.x0),
        )


@torch.no_grad()
def adaptive_panoptic_fusion(
    instances: Instances,
    sem_seg_logits: Tensor,
    *,
    thing_class_ids: Sequence[int],
    score_threshold: float = 0.5,
    overlap_threshold: float = 0.5,
    stuff_area_limit: int = 2048,
    mask_logit_scale: float = 1.0,
    confine_to_box: bool = True,
) -> tuple[Tensor, list[dict]]:
    """Fuse instance and semantic logits (paper section 3.5).

    Instances are taken by descending score. One whose mask is covered by more than
    ``overlap_threshold`` by better ones is dropped. Each of the others gets the logit map
    ``FL = (sigmoid(A) + sigmoid(B)) * (A + B)``, where A is its pasted mask logit and B the
    semantic logit of its class inside its box. A pixel belongs to the instance whose FL is the
    largest, if it exceeds all stuff logits. Pixels without an instance take the class of the
    semantic argmax; thing classes and stuff classes with too few pixels left become void.

    Cost and memory go with the sum of the box areas: no tensor of size N x H x W is made.

    Args:
        instances: detections at the output size, with ``pred_boxes``, ``scores``, ``pred_classes``
            (0..things-1) and ``pred_mask_logits`` (N, M, M).
        sem_seg_logits: (K, H, W) logits of all classes, stuff and things in any order.
        thing_class_ids: semantic channel of each thing class.
        score_threshold: only instances with a score strictly above it are used.
        overlap_threshold: largest covered share of a mask.
        stuff_area_limit: smallest area of a stuff segment, in pixels.
        mask_logit_scale: factor of A; 1 in the paper, 4 in the authors' code.
        confine_to_box: an instance exists only in the pixels that its box touches. If False, as
            published, FL is 0 outside the box and can win there, anywhere in the image, where all
            stuff logits are negative.

    Returns:
        ``panoptic_seg`` (H, W) int32, 0 for void, and ``segments_info``: for each segment a dict of
        ``id`` (from 1), ``isthing`` (bool), ``category_id`` (semantic channel), ``area`` (pixels),
        and for things ``score`` and ``instance_id`` (index into ``instances``).
    """
    sem_seg_logits = sem_seg_logits.float()
    device = sem_seg_logits.device
    thing_class_ids = list(thing_class_ids)
    stuff_class_ids = [k for k in range(len(sem_seg_logits)) if k not in set(thing_class_ids)]

    if stuff_class_ids:
        best_logit = _max_over_channels(sem_seg_logits, stuff_class_ids)
    else:
        best_logit = torch.full_like(sem_seg_logits[0], -torch.inf)
    winner = torch.full_like(best_logit, -1, dtype=torch.int32)  # index into the order of scores

    order = _candidates(instances, score_threshold)
    _paste_instances(
        instances[order],
        sem_seg_logits,
        torch.as_tensor(thing_class_ids)[instances.pred_classes[order].cpu()].tolist(),
        best_logit,
        winner,
        overlap_threshold=overlap_threshold,
        mask_logit_scale=mask_logit_scale,
        confine_to_box=confine_to_box,
    )

    # Number the instances that won pixels from 1, in the order of scores.
    areas = torch.bincount((winner + 1).flatten(), minlength=len(order) + 1)[1:].tolist()
    new_id = torch.zeros(len(order) + 1, dtype=torch.int32, device=device)
    segments_info = []
    for rank, (index, area) in enumerate(zip(order.tolist(), areas, strict=True)):
        if area == 0:
            continue
        segments_info.append(
            {
                "id": len(segments_info) + 1,
                "isthing": True,
                "category_id": thing_class_ids[int(instances.pred_classes[index])],
                "score": float(instances.scores[index]),
                "instance_id": index,
                "area": area,
            }
        )
        new_id[rank + 1] = len(segments_info)
    panoptic_seg = new_id[(winner + 1).long()]
    _fill_stuff(panoptic_seg, segments_info, sem_seg_logits, stuff_class_ids, stuff_area_limit)
    return panoptic_seg, segments_info


def _max_over_channels(logits: Tensor, channels: list[int]) -> Tensor:
    """Maximum over some channels, without copying them together."""
    best = logits[channels[0]].clone()
    for channel in channels[1:]:
        torch.maximum(best, logits[channel], out=best)
    return best


def _candidates(instances: Instances, score_threshold: float) -> Tensor:
    """Indices of the usable instances by descending score, ties in input order."""
    scores = instances.scores
    order = torch.argsort(scores, descending=True, stable=True)
    return order[(scores > score_threshold)[order] & instances.pred_boxes.nonempty()[order]]


def _paste_instances(
    instances: Instances,
    sem_seg_logits: Tensor,
    channels: list[int],
    best_logit: Tensor,
    winner: Tensor,
    *,
    overlap_threshold: float,
    mask_logit_scale: float,
    confine_to_box: bool,
) -> None:
    """Let sorted instances compete for pixels; updates ``best_logit`` and ``winner`` in place."""
    height, width = winner.shape
    image = Window(0, height, 0, width)
    occupied = torch.zeros_like(winner, dtype=torch.bool)
    # Pixels outside of no window so far: only there can a zero outside the next window still win.
    untouched = image
    for rank, box in enumerate(instances.pred_boxes.tensor.tolist()):
        mask_logits = instances.pred_mask_logits[rank].float()
        inside = _touched_pixels(box, image)
        window = inside if confine_to_box else _mask_support(box, mask_logits.shape[-1], image)
        logit_a = _paste_mask(mask_logits, box, window)

        mask = logit_a > 0
        free = mask & ~occupied[window.slices]
        area, free_area = torch.stack([mask.sum(), free.sum()]).tolist()
        if area == 0 or area - free_area > overlap_threshold * area:
            continue
        occupied[window.slices] |= mask

        logit_b = torch.zeros_like(logit_a)
        logit_b[inside.within(window)] = sem_seg_logits[channels[rank]][inside.slices]
        logit_a = logit_a * mask_logit_scale
        fused = (logit_a.sigmoid() + logit_b.sigmoid()) * (logit_a + logit_b)
        best, taken_by = best_logit[window.slices], winner[window.slices]
        wins = fused > best
        if not confine_to_box:
            stray = best_logit[untouched.slices] < 0
            untouched_window = window.intersect(untouched)
            stray[untouched_window.within(untouched)] = False
            best_logit[untouched.slices].masked_fill_(stray, 0.0)
            winner[untouched.slices].masked_fill_(stray, rank)
            untouched = untouched_window
        taken_by.masked_fill_(wins, rank)
        torch.maximum(best, fused, out=best)


def _touched_pixels(box: list[float], image: Window) -> Window:
    """The pixels that a box overlaps, at least in part."""
    x0, y0, x1, y1 = box
    return Window(int(y0 // 1), int(-(-y1 // 1)), int(x0 // 1), int(-(-x1 // 1))).intersect(image)


def _mask_support(box: list[float], mask_size: int, image: Window) -> Window:
    """The pixels where a pasted mask can be non-zero: it fades out over half a cell of the mask."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) / (2 * mask_size), (y1 - y0) / (2 * mask_size)
    return _touched_pixels([x0 - dx, y0 - dy, x1 + dx, y1 + dy], image)


def _paste_mask(mask_logits: Tensor, box: list[float], window: Window) -> Tensor:
    """Bilinear value of (M, M) logits, zero beyond them, at the pixel centres of ``window``.

    Equals ``grid_sample(align_corners=False, padding_mode="zeros")``; written as two products with
    interpolation matrices, which is exact and faster.
    """
    x0, y0, x1, y1 = box
    size = mask_logits.shape[-1]
    device = mask_logits.device
    rows = _interpolation_matrix(window.y0, window.y1, y0, y1, size, device)
    columns = _interpolation_matrix(window.x0, window.x1, x0, x1, size, device)
    return rows @ mask_logits @ columns.T


def _interpolation_matrix(start, end, box_start, box_end, size, device) -> Tensor:
    """(end - start, size) weights of the mask cells at the pixel centres of one axis."""
    pixels = torch.arange(start, end, dtype=torch.float32, device=device) + 0.5
    cells = torch.arange(size, dtype=torch.float32, device=device) + 0.5
    position = (pixels - box_start) * (size / (box_end - box_start))
    return (1 - (position[:, None] - cells).abs()).clamp_(min=0)


def _fill_stuff(
    panoptic_seg: Tensor,
    segments_info: list[dict],
    sem_seg_logits: Tensor,
    stuff_class_ids: list[int],
    stuff_area_limit: int,
) -> None:
    """Give the pixels without an instance to stuff; updates ``panoptic_seg`` and the segments."""
    num_classes = len(sem_seg_logits)
    sem_seg = sem_seg_logits.argmax(dim=0)
    sem_seg[panoptic_seg != VOID] = num_classes
    areas = torch.bincount(sem_seg.flatten(), minlength=num_classes + 1).tolist()
    new_id = torch.zeros(num_classes + 1, dtype=torch.int32, device=panoptic_seg.device)
    for class_id in stuff_class_ids:
        area = areas[class_id]
        if area == 0 or area < stuff_area_limit:
            continue
        segments_info.append(
            {
                "id": len(segments_info) + 1,
                "isthing": False,
                "category_id": class_id,
                "area": area,
            }
        )
        new_id[class_id] = len(segments_info)
    panoptic_seg += new_id[sem_seg]
