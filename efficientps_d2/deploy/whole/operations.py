"""The steps whose results have sizes that depend on values, as operations of PyTorch.

``torch.export`` keeps each of them as one node. In PyTorch they compute what Detectron2 and this
project compute; :mod:`functions` says what they are in ONNX. The last step is in
:mod:`fusion_operation`.
"""

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.modeling.poolers import assign_boxes_to_levels
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference_single_image
from detectron2.structures import Boxes
from torch import Tensor
from torch.library import custom_op
from torch.nn import functional as F
from torchvision.ops import roi_align

from efficientps_d2.data.images import resize_image

NAMESPACE = "efficientps_d2"


@custom_op(f"{NAMESPACE}::prepare", mutates_args=())
def prepare(
    image: Tensor,
    min_size: int,
    max_size: int,
    divisor: int,
    mean: list[float],
    std: list[float],
    bgr: bool,
) -> tuple[Tensor, Tensor]:
    """Resize, normalise and pad an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        min_size, max_size: of ``ResizeShortestEdge``; 0 for no resizing.
        divisor: of the padded sides.
        mean, std: of the channels, in the order that the network takes.
        bgr: whether that is blue, green, red.

    Returns:
        (1, 3, H', W') float32, and (2,) int64 height and width without padding.
    """
    array = resize_image(image.numpy(), T.ResizeShortestEdge([min_size, min_size], max_size))
    height, width = array.shape[:2]
    array = array[:, :, ::-1] if bgr else array
    x = torch.tensor(np.ascontiguousarray(array)).permute(2, 0, 1).float()
    x = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    x = F.pad(x, (0, -width % divisor, 0, -height % divisor))
    return x[None].contiguous(), torch.tensor([height, width])


@prepare.register_fake
def _(image, min_size, max_size, divisor, mean, std, bgr):
    context = torch.library.get_ctx()
    rows, columns = context.new_dynamic_size(min=2), context.new_dynamic_size(min=2)
    x = image.new_empty((1, 3, divisor * rows, divisor * columns), dtype=torch.float32)
    return x, image.new_empty((2,), dtype=torch.int64)


@custom_op(f"{NAMESPACE}::select_proposals", mutates_args=())
def select_proposals(
    boxes: list[Tensor],
    logits: list[Tensor],
    size: Tensor,
    nms_threshold: float,
    before: int,
    after: int,
    min_side: float,
) -> Tensor:
    """The best boxes of the RPN.

    Args:
        boxes, logits: (A, 4) and (A,) of each level.
        size: (2,) height and width of the image.
        nms_threshold: within a level.
        before, after: how many of each level, and of all, are kept.
        min_side: of the boxes, above which they are kept.

    Returns:
        (P, 4) by descending score.
    """
    (found,) = find_top_rpn_proposals(
        [b[None] for b in boxes],
        [x[None] for x in logits],
        [tuple(size.tolist())],
        nms_threshold,
        before,
        after,
        min_side,
        training=False,
    )
    return found.proposal_boxes.tensor.clone()


@select_proposals.register_fake
def _(boxes, logits, size, nms_threshold, before, after, min_side):
    return boxes[0].new_empty((torch.library.get_ctx().new_dynamic_size(), 4))


@custom_op(f"{NAMESPACE}::pool", mutates_args=())
def pool(
    features: list[Tensor],
    boxes: Tensor,
    strides: list[int],
    side: int,
    samples: int,
    aligned: bool,
    canonical_size: int,
    canonical_level: int,
) -> Tensor:
    """RoIAlign, each box on the level of its size.

    Args:
        features: (1, C, h, w) of each level.
        boxes: (P, 4).
        strides: of the levels, powers of two in order.
        side: cells of a side of the result.
        samples, aligned: of RoIAlign; 0 samples for as many as a cell has pixels.
        canonical_size, canonical_level: of ``assign_boxes_to_levels``.

    Returns:
        (P, C, side, side).
    """
    lowest, highest = (int(np.log2(s)) for s in (strides[0], strides[-1]))
    found = boxes.new_zeros(len(boxes), features[0].shape[1], side, side)
    if not len(boxes):
        return found
    levels = assign_boxes_to_levels(
        [Boxes(boxes)], lowest, highest, canonical_size, canonical_level
    )
    for level, (feature, stride) in enumerate(zip(features, strides, strict=True)):
        chosen = levels == level
        found[chosen] = roi_align(feature, [boxes[chosen]], side, 1 / stride, samples, aligned)
    return found


@pool.register_fake
def _(features, boxes, strides, side, *_):
    return boxes.new_empty((boxes.shape[0], features[0].shape[1], side, side))


@custom_op(f"{NAMESPACE}::select_detections", mutates_args=())
def select_detections(
    boxes: Tensor,
    probabilities: Tensor,
    size: Tensor,
    score_threshold: float,
    nms_threshold: float,
    most: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best boxes of the box head.

    Args:
        boxes: (P, 4) or (P, 4 T) of P proposals and T classes.
        probabilities: (P, T + 1), the last of the background.
        size: (2,) height and width of the image.
        score_threshold, nms_threshold, most: what is kept.

    Returns:
        Boxes (N, 4), scores (N,) and classes (N,) int64, by descending score.
    """
    found, _ = fast_rcnn_inference_single_image(
        boxes, probabilities, tuple(size.tolist()), score_threshold, nms_threshold, most
    )
    return found.pred_boxes.tensor.clone(), found.scores.clone(), found.pred_classes.clone()


@select_detections.register_fake
def _(boxes, probabilities, size, score_threshold, nms_threshold, most):
    count = torch.library.get_ctx().new_dynamic_size()
    classes = boxes.new_empty((count,), dtype=torch.int64)
    return boxes.new_empty((count, 4)), boxes.new_empty((count,)), classes


@custom_op(f"{NAMESPACE}::scale_boxes", mutates_args=())
def scale_boxes(boxes: Tensor, size: Tensor, image: Tensor) -> Tensor:
    """(N, 4) boxes in pixels of the image.

    Args:
        boxes: (N, 4) in pixels of the network's input.
        size: (2,) height and width of that input without padding.
        image: (H, W, 3).
    """
    (height, width), (old_height, old_width) = image.shape[:2], size.tolist()
    scaled = Boxes(boxes.clone())
    scaled.scale(width / old_width, height / old_height)
    scaled.clip((height, width))
    return scaled.tensor


@scale_boxes.register_fake
def _(boxes, size, image):
    return torch.empty_like(boxes)


@custom_op(f"{NAMESPACE}::enlarge", mutates_args=())
def enlarge(logits: Tensor, size: Tensor, image: Tensor, stride: int) -> Tensor:
    """Semantic logits of the pixels of the image.

    Args:
        logits: (1, K, h, w) of the padded input of the network.
        size: (2,) height and width of that input without padding.
        image: (H, W, 3).
        stride: of the logits.

    Returns:
        (K, H, W) float32.
    """
    large = F.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False)
    height, width = size.tolist()
    large = large[:, :, :height, :width]
    if (height, width) != image.shape[:2]:
        large = F.interpolate(large, size=image.shape[:2], mode="bilinear", align_corners=False)
    return large[0].clone()


@enlarge.register_fake
def _(logits, size, image, stride):
    return logits.new_empty((logits.shape[1], image.shape[0], image.shape[1]))
