"""The adaptive panoptic fusion of EfficientPS, as one pure function."""

from collections.abc import Sequence
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import Tensor

from efficientps_d2.modeling.fusion.build import FUSION_REGISTRY, Fusion, thresholds
from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits
from efficientps_d2.modeling.fusion.shared import (
    Window,
    assemble,
    candidates,
    occupy,
    paste_mask,
    semantic_channels,
    stuff_classes,
    touched_pixels,
)


@FUSION_REGISTRY.register()
def adaptive(combine: CfgNode) -> Fusion:
    """The rule of the paper."""
    return partial(
        adaptive_panoptic_fusion,
        mask_logit_scale=combine.MASK_LOGIT_SCALE,
        confine_to_box=combine.CONFINE_TO_BOX,
        **thresholds(combine),
    )


@torch.no_grad()
def adaptive_panoptic_fusion(
    instances: Instances,
    sem_seg_logits: Tensor | SemanticLogits,
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
        sem_seg_logits: (K, H, W) logits of all classes, stuff and things in any order: a tensor,
            or, for less memory, :class:`SemanticLogits`.
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
    sem_seg_logits = SemanticLogits.of(sem_seg_logits)
    thing_class_ids = list(thing_class_ids)
    stuff_class_ids = stuff_classes(len(sem_seg_logits), thing_class_ids)
    sem_seg, best_logit = sem_seg_logits.labels_and_stuff(stuff_class_ids, torch.maximum)
    winner = torch.full_like(best_logit, -1, dtype=torch.int32)  # index into the order of scores

    order = candidates(instances, score_threshold)
    usable = instances[order]
    _paste_instances(
        usable,
        sem_seg_logits,
        semantic_channels(usable, thing_class_ids),
        best_logit,
        winner,
        overlap_threshold=overlap_threshold,
        mask_logit_scale=mask_logit_scale,
        confine_to_box=confine_to_box,
    )

    return assemble(
        winner,
        order,
        instances,
        sem_seg,
        num_classes=len(sem_seg_logits),
        thing_class_ids=thing_class_ids,
        stuff_area_limit=stuff_area_limit,
    )


def _paste_instances(
    instances: Instances,
    sem_seg_logits: SemanticLogits,
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
        inside = touched_pixels(box, image)
        window = inside if confine_to_box else _mask_support(box, mask_logits.shape[-1], image)
        logit_a = paste_mask(mask_logits, box, window)

        if not occupy(logit_a > 0, occupied[window.slices], overlap_threshold):
            continue

        logit_b = torch.zeros_like(logit_a)
        logit_b[inside.within(window)] = sem_seg_logits.crop(*inside.slices, channels[rank])
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


def _mask_support(box: list[float], mask_size: int, image: Window) -> Window:
    """The pixels where a pasted mask can be non-zero: it fades out over half a cell of the mask."""
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) / (2 * mask_size), (y1 - y0) / (2 * mask_size)
    return touched_pixels([x0 - dx, y0 - dy, x1 + dx, y1 + dy], image)
