"""What the training mapper gives, without a dataset."""

import torch
from detectron2.structures import BitMasks, Boxes, Instances


def sample(height, width, boxes, classes, num_classes=4):
    """One training sample with solid rectangular instances."""
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return {
        "image": torch.randint(0, 255, (3, height, width), dtype=torch.uint8),
        "sem_seg": torch.randint(0, num_classes, (height, width)),
        "instances": Instances(
            (height, width),
            gt_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
            gt_classes=torch.tensor(classes, dtype=torch.int64),
            gt_masks=BitMasks(masks),
        ),
    }
