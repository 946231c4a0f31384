"""Crowd regions, in which boxes are not trained as background."""

import torch
from detectron2.structures import Boxes, Instances, pairwise_ioa
from torch import Tensor

# Share of a box that must lie in a crowd region for the box not to count as background.
CROWD_COVERAGE = 0.5


def split_crowd(targets: Instances) -> tuple[Instances, Boxes]:
    """Ordinary instances, and the boxes of crowd regions, which the mapper marks with class -1."""
    is_crowd = targets.gt_classes < 0
    return targets[~is_crowd], targets.gt_boxes[is_crowd]


def inside_crowd(boxes: Boxes, crowd: Boxes) -> Tensor:
    """(N,) bool: at least half of the box lies in one crowd region."""
    if len(crowd) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return pairwise_ioa(crowd, boxes).max(dim=0).values >= CROWD_COVERAGE
