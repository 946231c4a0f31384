"""How sure a network is of segments that no detection gave a score."""

import torch
from torch import Tensor

from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits


def mean_probabilities(
    logits: SemanticLogits, pan_seg: Tensor, classes: dict[int, int]
) -> dict[int, float]:
    """The mean softmax probability of its class in each segment.

    Args:
        logits: of the size of ``pan_seg``.
        pan_seg: (H, W) int32 segment ids.
        classes: class of each segment of interest, by its id.
    """
    class_of = pan_seg.new_full((int(pan_seg.max()) + 1,), -1, dtype=torch.int64)
    class_of[list(classes)] = class_of.new_tensor(list(classes.values()))
    totals = torch.zeros(len(class_of), dtype=torch.float64)
    for rows, strip in logits.strips():
        ids = pan_seg[rows].long()
        own = class_of[ids]
        score = strip.gather(0, own.clamp(min=0)[None])[0] - strip.logsumexp(dim=0)
        inside = own >= 0
        found = torch.bincount(ids[inside], score.exp()[inside], minlength=len(totals))
        totals += found.cpu()
    areas = torch.bincount(pan_seg.flatten(), minlength=len(totals)).tolist()
    return {i: float(totals[i]) / areas[i] for i in classes}
