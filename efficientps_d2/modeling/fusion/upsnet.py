"""The inference of UPSNet (Xiong et al., CVPR 2019, section 3.4)."""

from collections.abc import Sequence
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.layers import nms
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
from efficientps_d2.modeling.fusion.upsnet_logits import panoptic_logits

NMS_THRESHOLD = 0.5  # over all classes


@FUSION_REGISTRY.register()
def upsnet(combine: CfgNode) -> Fusion:
    """The panoptic head of UPSNet."""
    return partial(upsnet_panoptic_fusion, **thresholds(combine))


@torch.no_grad()
def upsnet_panoptic_fusion(
    instances: Instances,
    sem_seg_logits: Tensor | SemanticLogits,
    *,
    thing_class_ids: Sequence[int],
    score_threshold: float = 0.6,
    overlap_threshold: float = 0.3,
    stuff_area_limit: int = 2048,
) -> tuple[Tensor, list[dict]]:
    """Give each pixel to the largest of UPSNet's panoptic logits.

    Boxes of all classes go through one NMS. Instances are taken by descending score; one whose mask
    is empty or covered by more than ``overlap_threshold`` by better ones of its class is dropped.
    A pixel belongs to the channel with the largest of :func:`panoptic_logits`; pixels of the
    unknown channel are void. A region of an instance that is mostly one stuff class by the semantic
    argmax becomes that stuff. Stuff classes with too few pixels become void.

    UPSNet computes this at the size of the network's input and takes the nearest pixels for the
    output; here the logits have the size of the output.

    Args:
        instances, sem_seg_logits, thing_class_ids, score_threshold, overlap_threshold,
            stuff_area_limit: as for :func:`adaptive_panoptic_fusion`.

    Returns:
        As :func:`adaptive_panoptic_fusion`.
    """
    sem_seg_logits = SemanticLogits.of(sem_seg_logits)
    order = candidates(instances, score_threshold)
    found = instances[order]
    order = order[nms(found.pred_boxes.tensor, found.scores, NMS_THRESHOLD)]
    order = order[_unclaimed(instances[order], sem_seg_logits.size, overlap_threshold)]
    winner, sem_seg = _winners(instances[order], sem_seg_logits, thing_class_ids)
    _correct_by_majority(winner, sem_seg, sem_seg_logits, thing_class_ids)
    return assemble(
        winner,
        order,
        instances,
        sem_seg,
        num_classes=len(sem_seg_logits),
        thing_class_ids=thing_class_ids,
        stuff_area_limit=stuff_area_limit,
    )


def _unclaimed(instances: Instances, size: tuple[int, int], overlap_threshold: float) -> list[int]:
    """Indices of sorted instances that better ones of their class leave enough of."""
    image, kept, occupied = Window(0, size[0], 0, size[1]), [], {}
    classes, boxes = instances.pred_classes.tolist(), instances.pred_boxes.tensor.tolist()
    for index, (class_id, box) in enumerate(zip(classes, boxes, strict=True)):
        window = touched_pixels(box, image)
        mask = paste_mask(instances.pred_mask_logits[index].float(), box, window, fade=False) > 0
        if class_id not in occupied:
            occupied[class_id] = torch.zeros(size, dtype=torch.bool, device=mask.device)
        if occupy(mask, occupied[class_id][window.slices], overlap_threshold):
            kept.append(index)
    return kept


def _winners(
    instances: Instances, sem_seg_logits: SemanticLogits, thing_class_ids: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """(H, W) int32 index of the instance that has a pixel, or -1; (H, W) stuff class of the others.

    The number of classes stands for the unknown channel. Strips of rows bound the memory.
    """
    boxes, mask_logits = instances.pred_boxes.tensor.tolist(), instances.pred_mask_logits.float()
    channels = semantic_channels(instances, thing_class_ids)
    best = [
        panoptic_logits(
            strip,
            boxes,
            mask_logits,
            channels,
            thing_class_ids=thing_class_ids,
            top=rows.start,
        ).argmax(dim=0)
        for rows, strip in sem_seg_logits.strips()
    ]
    best = torch.cat(best)
    num_classes = len(sem_seg_logits)
    stuff = stuff_classes(num_classes, thing_class_ids)
    label = best.new_tensor([*stuff, *[num_classes] * (len(boxes) + 1)])
    rank = best.new_tensor([-1] * len(stuff) + [*range(len(boxes)), -1])
    return rank[best].int(), label[best]


def _correct_by_majority(
    winner: Tensor, sem_seg: Tensor, sem_seg_logits: SemanticLogits, thing_class_ids: Sequence[int]
) -> None:
    """Turn regions of instances, at least half of which is one stuff class, into that stuff."""
    num_classes, count = len(sem_seg_logits), int(winner.max()) + 1
    pairs = (winner.long() + 1) * num_classes + sem_seg_logits.argmax(dim=0)
    table = torch.bincount(pairs.flatten(), minlength=(count + 1) * num_classes)
    table = table.view(count + 1, num_classes)[1:]
    most, majority = table.max(dim=1)
    stuff = majority.new_tensor(stuff_classes(num_classes, thing_class_ids))
    wrong = torch.isin(majority, stuff) & (2 * most >= table.sum(dim=1)) & (most > 0)
    for rank in wrong.nonzero().flatten().tolist():
        region = winner == rank
        sem_seg[region] = majority[rank]
        winner[region] = -1
