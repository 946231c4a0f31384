"""The fusion, whose number of segments depends on values, as an operation of PyTorch."""

import torch
from detectron2.structures import Boxes, Instances, ROIMasks
from torch import Tensor
from torch.library import custom_op

from efficientps_d2.deploy.whole.operations import NAMESPACE
from efficientps_d2.modeling.fusion.adaptive import adaptive_panoptic_fusion
from efficientps_d2.modeling.fusion.heuristic import heuristic_panoptic_fusion
from efficientps_d2.modeling.fusion.log_odds import log_odds_panoptic_fusion
from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits
from efficientps_d2.modeling.fusion.stuff_scores import mean_probabilities

FUSIONS = {
    "adaptive": adaptive_panoptic_fusion,
    "heuristic": heuristic_panoptic_fusion,
    "log_odds": log_odds_panoptic_fusion,
}


@custom_op(f"{NAMESPACE}::fuse", mutates_args=())
def fuse(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    mask_logits: Tensor,
    sem_seg: Tensor,
    score_threshold: Tensor,
    overlap_threshold: Tensor,
    stuff_area_limit: Tensor,
    method: str,
    thing_class_ids: list[int],
    stuff_class_ids: list[int],
    semantic_weight: float,
    mask_logit_scale: float,
    confine_to_box: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The panoptic map, by one of the rules of :mod:`efficientps_d2.modeling.fusion`.

    Args:
        boxes: (N, 4) in pixels of the image.
        scores, classes: (N,) float32 and int64, classes from 0 to things - 1.
        mask_logits: (N, M, M) float32.
        sem_seg: (K, H, W) logits.
        score_threshold, overlap_threshold: () float32.
        stuff_area_limit: () int64.
        method, semantic_weight, mask_logit_scale, confine_to_box: of
            ``MODEL.PANOPTIC_FPN.COMBINE``.
        thing_class_ids: contiguous class of each thing.
        stuff_class_ids: all other classes.

    Returns:
        ``panoptic_seg`` (H, W) int32; of the S segments 1, 2, ... the contiguous class (S,) int64,
        whether it is a thing (S,) bool, score (S,) float32 and area (S,) int64; and the semantic
        class (H, W) int64 of each pixel.
    """
    options = {
        "thing_class_ids": thing_class_ids,
        "score_threshold": float(score_threshold),
        "overlap_threshold": float(overlap_threshold),
        "stuff_area_limit": int(stuff_area_limit),
    }
    if method == "adaptive":
        options |= {"mask_logit_scale": mask_logit_scale, "confine_to_box": confine_to_box}
    elif method == "log_odds":
        options["semantic_weight"] = semantic_weight
    instances = _instances(boxes, scores, classes, mask_logits, tuple(sem_seg.shape[1:]), method)
    pan_seg, segments = FUSIONS[method](instances, sem_seg, **options)
    areas = torch.bincount(pan_seg.flatten(), minlength=len(segments) + 1)[1:]
    ids = {s["id"]: s["category_id"] for s in segments if not s["isthing"]}
    stuff = mean_probabilities(SemanticLogits(sem_seg), pan_seg, [0, *areas.tolist()], ids)
    found = [s.get("score", stuff.get(s["id"])) for s in segments]
    return (
        pan_seg.to(torch.int32),
        torch.tensor([s["category_id"] for s in segments], dtype=torch.int64),
        torch.tensor([s["isthing"] for s in segments], dtype=torch.bool),
        torch.tensor(found, dtype=torch.float32),
        areas,
        sem_seg.argmax(dim=0),
    )


def _instances(boxes, scores, classes, mask_logits, size, method: str) -> Instances:
    """As the rule takes them."""
    instances = Instances(size, pred_boxes=Boxes(boxes), scores=scores, pred_classes=classes)
    instances.pred_mask_logits = mask_logits
    if method == "heuristic":
        masks = ROIMasks(mask_logits.sigmoid())
        instances.pred_masks = masks.to_bitmasks(instances.pred_boxes, *size, 0.5).tensor
    return instances


@fuse.register_fake
def _(boxes, scores, classes, mask_logits, sem_seg, *_):
    count = torch.library.get_ctx().new_dynamic_size()
    size = sem_seg.shape[1:]
    return (
        sem_seg.new_empty(size, dtype=torch.int32),
        sem_seg.new_empty((count,), dtype=torch.int64),
        sem_seg.new_empty((count,), dtype=torch.bool),
        sem_seg.new_empty((count,)),
        sem_seg.new_empty((count,), dtype=torch.int64),
        sem_seg.new_empty(size, dtype=torch.int64),
    )
