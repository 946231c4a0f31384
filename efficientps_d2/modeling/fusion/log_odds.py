"""A fusion that takes both heads for evidence of one probability, as one pure function."""

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
from efficientps_d2_runtime.errors import InputError

SEMANTIC_LIMIT = 6.0  # of the semantic log-odds, which a confident head drives far beyond its worth


@FUSION_REGISTRY.register()
def log_odds(combine: CfgNode) -> Fusion:
    """Mask logits and, with a weight, the semantic log-odds of a thing."""
    if combine.MASK_LOGIT_SCALE != 1 or not combine.CONFINE_TO_BOX:
        raise InputError(
            "MODEL.PANOPTIC_FPN.COMBINE: MASK_LOGIT_SCALE and CONFINE_TO_BOX are for METHOD "
            '"adaptive"; with "log_odds" leave them at 1.0 and True.'
        )
    return partial(
        log_odds_panoptic_fusion, semantic_weight=combine.SEMANTIC_WEIGHT, **thresholds(combine)
    )


@torch.no_grad()
def log_odds_panoptic_fusion(
    instances: Instances,
    sem_seg_logits: Tensor | SemanticLogits,
    *,
    thing_class_ids: Sequence[int],
    score_threshold: float = 0.5,
    overlap_threshold: float = 0.5,
    stuff_area_limit: int = 2048,
    semantic_weight: float = 0.3,
) -> tuple[Tensor, list[dict]]:
    """Fuse instance and semantic logits as evidence of one probability.

    The log-odds that a pixel belongs to an instance are ``L = A + w * S``: A is its pasted mask
    logit, and S the semantic log-odds of its class against all stuff, limited to +-6. The weight w
    is small because both heads look at the same features. Instances are taken by descending score;
    one whose pixels (L > 0) are covered by more than ``overlap_threshold`` by better ones is
    dropped. A pixel belongs to the instance with the largest positive L, otherwise to the class of
    the semantic argmax; thing classes and stuff classes with too few pixels left become void.

    Unlike :func:`adaptive_panoptic_fusion`, it does not depend on an offset common to all semantic
    logits. With w = 0 it is the merge of Panoptic FPN, but for pixels of two instances.

    Args:
        instances, sem_seg_logits, thing_class_ids, score_threshold, overlap_threshold,
            stuff_area_limit: as for :func:`adaptive_panoptic_fusion`.
        semantic_weight: w.

    Returns:
        As :func:`adaptive_panoptic_fusion`.
    """
    sem_seg_logits = SemanticLogits.of(sem_seg_logits)
    thing_class_ids = list(thing_class_ids)
    order = candidates(instances, score_threshold)
    usable = instances[order]
    stuff_class_ids = stuff_classes(len(sem_seg_logits), thing_class_ids)
    sem_seg, stuff_logit = sem_seg_logits.labels_and_stuff(stuff_class_ids, torch.logaddexp)
    winner = _compete(
        usable,
        sem_seg_logits,
        semantic_channels(usable, thing_class_ids),
        stuff_logit,
        overlap_threshold,
        semantic_weight,
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


def _compete(
    instances: Instances,
    sem_seg_logits: SemanticLogits,
    channels: list[int],
    stuff_logit: Tensor,
    overlap_threshold: float,
    semantic_weight: float,
) -> Tensor:
    """(H, W) int32 index of the sorted instance that has a pixel, -1 for none."""
    height, width = stuff_logit.shape
    image = Window(0, height, 0, width)
    winner = torch.full_like(stuff_logit, -1, dtype=torch.int32)
    best = torch.zeros_like(stuff_logit)  # log-odds, of no instance 0
    occupied = torch.zeros_like(stuff_logit, dtype=torch.bool)
    boxes = instances.pred_boxes.tensor.tolist()
    for rank, (box, channel) in enumerate(zip(boxes, channels, strict=True)):
        window = touched_pixels(box, image)
        # A mask that fades at the border of its box would be outvoted there.
        mask_logits = instances.pred_mask_logits[rank].float()
        log_odds = paste_mask(mask_logits, box, window, fade=False)
        semantic = sem_seg_logits.crop(*window.slices, channel) - stuff_logit[window.slices]
        log_odds += semantic_weight * semantic.clamp_(-SEMANTIC_LIMIT, SEMANTIC_LIMIT)

        if not occupy(log_odds > 0, occupied[window.slices], overlap_threshold):
            continue
        winner[window.slices].masked_fill_(log_odds > best[window.slices], rank)
        torch.maximum(best[window.slices], log_odds, out=best[window.slices])
    return winner
