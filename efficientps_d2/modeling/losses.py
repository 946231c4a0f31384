"""Losses."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def hard_pixel_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    fraction: float = 0.25,
    per: str = "image",
    ignore_value: int = 255,
) -> Tensor:
    """Mean cross-entropy over the pixels with the largest loss (paper section 3.3, weighted loss).

    With ``per="image"`` (paper) the worst ``fraction`` of the labelled pixels is taken in every
    image, and the images are averaged; counting labelled pixels only, the loss does not change with
    padding. With ``per="batch"`` (authors' code) the worst ``fraction`` of all pixels is taken over
    the whole batch, ignored ones counting as zeros.

    Args:
        logits: (N, K, H, W) float32.
        targets: (N, H, W) int64, ``ignore_value`` where there is no ground truth.

    Returns:
        A scalar; 0 if no pixel has a label.
    """
    losses = F.cross_entropy(logits, targets, ignore_index=ignore_value, reduction="none")
    if per == "batch":
        losses = losses.flatten()
        return losses.topk(math.ceil(fraction * losses.numel())).values.mean()
    labelled = (targets != ignore_value).flatten(1).sum(dim=1).tolist()
    means = []
    for loss, count in zip(losses, labelled, strict=True):
        hard_pixels = math.ceil(fraction * count)
        # Ignored pixels have loss 0, so they can only tie with, never displace, labelled ones.
        means.append(loss.flatten().topk(hard_pixels).values.sum() / max(hard_pixels, 1))
    return torch.stack(means).mean()
