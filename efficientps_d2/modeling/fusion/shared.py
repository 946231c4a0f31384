"""What the fusion rules share: pasting of masks, numbering of segments, filling with stuff."""

import math
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


def stuff_classes(num_classes: int, thing_class_ids: Sequence[int]) -> list[int]:
    """The semantic channels that are no things."""
    return sorted(set(range(num_classes)) - set(thing_class_ids))


def semantic_channels(instances: Instances, thing_class_ids: Sequence[int]) -> list[int]:
    """The semantic channel of the class of each instance."""
    return torch.as_tensor(thing_class_ids)[instances.pred_classes.cpu()].tolist()


def candidates(instances: Instances, score_threshold: float) -> Tensor:
    """Indices of the usable instances by descending score, ties in input order."""
    scores = instances.scores
    order = torch.argsort(scores, descending=True, stable=True)
    return order[(scores > score_threshold)[order] & instances.pred_boxes.nonempty()[order]]


def touched_pixels(box: list[float], image: Window) -> Window:
    """The pixels that a box overlaps, at least in part."""
    x0, y0, x1, y1 = box
    touched = Window(math.floor(y0), math.ceil(y1), math.floor(x0), math.ceil(x1))
    return touched.intersect(image)


def paste_mask(
    mask_logits: Tensor, box: list[float], window: Window, *, fade: bool = True
) -> Tensor:
    """Bilinear value of (M, M) logits at the pixel centres of ``window``.

    Beyond the centres of the outer cells the values fade to zero within a cell, or stay as they
    are. Equals ``grid_sample(align_corners=False)`` with ``padding_mode`` "zeros" or "border";
    written as two products with interpolation matrices, which is exact and faster.
    """
    x0, y0, x1, y1 = box
    size, device = mask_logits.shape[-1], mask_logits.device
    rows = interpolation_matrix(window.y0, window.y1, y0, y1, size, fade, device)
    columns = interpolation_matrix(window.x0, window.x1, x0, x1, size, fade, device)
    return rows @ mask_logits @ columns.T


def interpolation_matrix(start, end, box_start, box_end, size, fade, device) -> Tensor:
    """(end - start, size) weights of the mask cells at the pixel centres of one axis."""
    pixels = torch.arange(start, end, dtype=torch.float32, device=device) + 0.5
    cells = torch.arange(size, dtype=torch.float32, device=device) + 0.5
    position = (pixels - box_start) * (size / (box_end - box_start))
    if not fade:
        position = position.clamp(0.5, size - 0.5)
    return (1 - (position[:, None] - cells).abs()).clamp_(min=0)


def occupy(mask: Tensor, occupied: Tensor, overlap_threshold: float) -> bool:
    """Mark a bool mask in ``occupied``, unless too much of it is marked already, or it is empty."""
    area, free_area = torch.stack([mask.sum(), (mask & ~occupied).sum()]).tolist()
    if area == 0 or area - free_area > overlap_threshold * area:
        return False
    occupied |= mask
    return True


def assemble(
    winner: Tensor,
    order: Tensor,
    instances: Instances,
    sem_seg: Tensor,
    *,
    num_classes: int,
    thing_class_ids: Sequence[int],
    stuff_area_limit: int,
) -> tuple[Tensor, list[dict]]:
    """Segments of the instances that won pixels, and of the stuff in what they leave.

    Args:
        winner: (H, W) int32 index into ``order`` of the instance that has a pixel, -1 for none.
        order: indices into ``instances``, by descending score.
        sem_seg: (H, W) int64 class of each pixel, ``num_classes`` for none; it is changed.

    Returns:
        As :func:`adaptive_panoptic_fusion`.
    """
    panoptic_seg, segments_info = _number_winners(winner, order, instances, thing_class_ids)
    stuff = stuff_classes(num_classes, thing_class_ids)
    sem_seg[panoptic_seg != VOID] = num_classes
    _fill_stuff(panoptic_seg, segments_info, sem_seg, num_classes, stuff, stuff_area_limit)
    return panoptic_seg, segments_info


def _number_winners(
    winner: Tensor, order: Tensor, instances: Instances, thing_class_ids: Sequence[int]
) -> tuple[Tensor, list[dict]]:
    """Number the instances that won pixels from 1, in the order of scores; 0 is elsewhere."""
    areas = torch.bincount((winner + 1).flatten(), minlength=len(order) + 1)[1:].tolist()
    new_id = torch.zeros(len(order) + 1, dtype=torch.int32, device=winner.device)
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
    return new_id[(winner + 1).long()], segments_info


def _fill_stuff(
    panoptic_seg: Tensor,
    segments_info: list[dict],
    sem_seg: Tensor,
    num_classes: int,
    stuff_class_ids: list[int],
    stuff_area_limit: int,
) -> None:
    """Give pixels to stuff; updates ``panoptic_seg`` and the segments."""
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
