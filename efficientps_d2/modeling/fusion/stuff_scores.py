"""How sure a network is of segments that no detection gave a score."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits


def mean_probabilities(
    logits: SemanticLogits, pan_seg: Tensor, areas: Sequence[int], classes: dict[int, int]
) -> dict[int, float]:
    """The mean softmax probability of its class in each segment.

    Args:
        logits: of the size of ``pan_seg``.
        pan_seg: (H, W) integer segment ids.
        areas: pixels of each id.
        classes: class of each segment of interest, by its id.
    """
    class_of = torch.full((len(areas),), -1, device=pan_seg.device)
    class_of[list(classes)] = class_of.new_tensor(list(classes.values()))
    totals = torch.zeros(len(areas), dtype=torch.float64)
    for rows, strip in logits.strips():
        ids = pan_seg[rows].long()
        own = class_of[ids]
        score = strip.gather(0, own.clamp(min=0)[None])[0] - strip.logsumexp(dim=0)
        inside = own >= 0
        found = torch.bincount(ids[inside], score.exp()[inside], minlength=len(areas))
        totals += found.cpu()
    return {i: float(totals[i] / areas[i]) for i in classes}
