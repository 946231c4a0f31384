"""The parameter-free panoptic head of UPSNet (Xiong et al., CVPR 2019, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efficientps_d2.modeling.fusion.shared import (
    Window,
    paste_mask,
    stuff_classes,
    touched_pixels,
)


def panoptic_logits(
    sem_seg_logits: Tensor,
    boxes: Sequence[Sequence[float]],
    mask_logits: Tensor,
    channels: Sequence[int],
    *,
    thing_class_ids: Sequence[int],
    top: int = 0,
) -> Tensor:
    """Logits of all stuff classes, of each instance, and of "a thing, but none of these".

    An instance has the semantic logit X of its class plus its pasted mask logit in its box, and 0
    outside. The unknown channel is the largest X of all thing classes less the largest X that an
    instance has at the pixel, an instance counting as 0 outside its box. Without instances it is
    the largest X alone, to which UPSNet's code adds 10 in training.

    Args:
        sem_seg_logits: (C, H, W) float32, or a strip of its rows.
        boxes: K boxes (x0, y0, x1, y1), in pixels of these logits.
        mask_logits: (K, M, M) float32, of the class of each instance.
        channels: semantic channel of the class of each instance.
        thing_class_ids: semantic channels of the things.
        top: row of the image in which the strip begins.

    Returns:
        (S + K + 1, H, W) logits, the S stuff classes by rising channel.
    """
    height, width = sem_seg_logits.shape[-2:]
    strip = Window(top, top + height, 0, width)
    known, instances = [], []
    for box, mask, channel in zip(boxes, mask_logits, channels, strict=True):
        window = touched_pixels(box, strip)
        rows, columns = window.within(strip)
        semantic = torch.zeros_like(sem_seg_logits[0])
        semantic[rows, columns] = sem_seg_logits[channel, rows, columns]
        known.append(semantic)
        pasted = semantic.clone()
        pasted[rows, columns] += paste_mask(mask, box, window, fade=False)
        instances.append(pasted)
    things = sem_seg_logits[list(thing_class_ids)]
    unknown = things.amax(dim=0) if len(things) else torch.full_like(sem_seg_logits[0], -torch.inf)
    if known:
        unknown = unknown - torch.stack(known).amax(dim=0)
    stuff = sem_seg_logits[stuff_classes(len(sem_seg_logits), thing_class_ids)]
    return torch.cat([stuff, torch.stack([*instances, unknown])])
