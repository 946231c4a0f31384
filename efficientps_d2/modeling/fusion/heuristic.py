"""The merge of Panoptic FPN (:paper:`PanopticFPN`), as Detectron2 has it."""

from collections.abc import Sequence
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.modeling.meta_arch.panoptic_fpn import combine_semantic_and_instance_outputs
from detectron2.structures import Instances
from torch import Tensor

from efficientps_d2.modeling.fusion.build import FUSION_REGISTRY, Fusion, thresholds
from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits
from efficientps_d2.modeling.fusion.shared import stuff_classes


@FUSION_REGISTRY.register()
def heuristic(combine: CfgNode) -> Fusion:
    """The merge of Panoptic FPN."""
    return partial(heuristic_panoptic_fusion, **thresholds(combine))


def heuristic_panoptic_fusion(
    instances: Instances,
    sem_seg_logits: Tensor | SemanticLogits,
    *,
    thing_class_ids: Sequence[int],
    score_threshold: float,
    overlap_threshold: float,
    stuff_area_limit: int,
) -> tuple[Tensor, list[dict]]:
    """Detectron2's merge, which needs label 0 for all things and stuff from 1 on.

    Args:
        instances: with ``pred_masks`` (N, H, W) bool, ``scores`` and ``pred_classes``
            (0..things-1).
        sem_seg_logits, thing_class_ids, overlap_threshold, stuff_area_limit: as for
            :func:`adaptive_panoptic_fusion`.
        score_threshold: instances with this score or more take part.

    Returns:
        As :func:`adaptive_panoptic_fusion`, but things have no ``area``.
    """
    num_classes, device = len(sem_seg_logits), sem_seg_logits.device
    stuff_ids = stuff_classes(num_classes, thing_class_ids)
    to_label = torch.zeros(num_classes, dtype=torch.long, device=device)
    to_label[stuff_ids] = torch.arange(1, len(stuff_ids) + 1, device=device)
    panoptic_seg, segments_info = combine_semantic_and_instance_outputs(
        instances,
        to_label[SemanticLogits.of(sem_seg_logits).argmax()],
        overlap_threshold,
        max(stuff_area_limit, 1),  # it keeps stuff of 0 pixels otherwise
        score_threshold,
    )
    panoptic_seg, segments_info = _without_empty(panoptic_seg, segments_info)
    for segment in segments_info:
        label = segment["category_id"]
        ids = list(thing_class_ids) if segment["isthing"] else [None, *stuff_ids]
        segment["category_id"] = ids[label]
    return panoptic_seg, segments_info


def _without_empty(panoptic_seg: Tensor, segments_info: list[dict]) -> tuple[Tensor, list[dict]]:
    """Without things that got no pixel, which an overlap threshold of 1 leaves; ids from 1 on."""
    counts = torch.bincount(panoptic_seg.flatten(), minlength=len(segments_info) + 1)
    kept = [segment for segment in segments_info if counts[segment["id"]]]
    if len(kept) == len(segments_info):
        return panoptic_seg, segments_info
    new_ids = torch.zeros(len(counts), dtype=panoptic_seg.dtype, device=panoptic_seg.device)
    for number, segment in enumerate(kept, start=1):
        new_ids[segment["id"]] = number
        segment["id"] = number
    return new_ids[panoptic_seg.long()], kept
