"""What the operations of :mod:`operations` are in ONNX, but for the fusion.

These functions are traced while a file is written: they run once, and what they call on ``op``
becomes a node.
"""

import math

import numpy as np
from onnxscript import opset18 as op

from efficientps_d2.deploy.whole.constants import DOUBLE, FLOAT, INT64, f32, f64, i64
from efficientps_d2.deploy.whole.resizing import resized

MAX_INT = 2**63 - 1


def prepare(image, min_size: int, max_size: int, divisor: int, mean, std, bgr: bool):
    """See :func:`operations.prepare`."""
    x = op.Cast(op.Unsqueeze(op.Transpose(image, perm=[2, 0, 1]), [0]), to=FLOAT)
    size = op.Slice(op.Shape(image), [0], [2])
    if min_size:
        size = _new_size(size, min_size, max_size)
        x = resized(x, size)
    if bgr:
        x = op.Gather(x, i64([2, 1, 0]), axis=1)
    x = op.Sub(x, f32(np.reshape(mean, (1, 3, 1, 1))))
    x = op.Div(x, f32(np.reshape(std, (1, 3, 1, 1))))
    padding = op.Mod(op.Neg(size), i64([divisor]))
    zeros = op.Constant(value_ints=[0, 0, 0, 0, 0, 0])
    return op.Pad(x, op.Concat(zeros, padding, axis=0)), size


def _new_size(size, min_size: int, max_size: int):
    """(2,) height and width of ``ResizeShortestEdge``."""
    sides = op.Cast(size, to=DOUBLE)
    scale = op.Div(f64(min_size), op.ReduceMin(sides, keepdims=0))
    shortest = op.ReduceMin(size, keepdims=0)
    # Of two equal sides both are the shortest, as there.
    sides = op.Where(op.Equal(size, shortest), f64(min_size), op.Mul(sides, scale))
    longest = op.ReduceMax(sides, keepdims=0)
    shrink = op.Div(f64(max_size), longest)
    sides = op.Where(op.Greater(longest, f64(max_size)), op.Mul(sides, shrink), sides)
    return op.Max(op.Cast(op.Floor(op.Add(sides, f64(0.5))), to=INT64), i64([1]))


def group_norm(x, groups: int, weight, bias, eps: float = 1e-5, cudnn_enabled: bool = True):
    """``torch.nn.functional.group_norm`` of (N, C, H, W), as a batch norm of what it measures.

    ONNX Runtime takes half the time for it that it takes for ``InstanceNormalization``.
    """
    one_image = x.shape[0] == 1  # or any number of boxes, also none
    shape = op.Shape(x)
    width = op.Cast(op.Slice(shape, [3], [4]), to=FLOAT)
    count = i64([1]) if one_image else op.Slice(shape, [0], [1])
    of_groups = op.Concat(count, i64([groups, weight.shape[0] // groups]), axis=0)
    rows = i64([1, groups, -1])
    if not one_image:
        rows = op.Concat(of_groups, op.Slice(shape, [2], [3]), axis=0)

    def mean(of_rows):  # of a group; by rows, for long sums of float32 are inexact
        axes = [2] if one_image else [2, 3]
        means = op.ReduceMean(op.Reshape(of_rows, rows, allowzero=1), axes)
        return means if one_image else op.Squeeze(means, [3])

    means = mean(op.ReduceMean(x, [3], keepdims=0))
    squares = op.Div(mean(op.ReduceSumSquare(x, [3], keepdims=0)), width)
    variances = op.Max(op.Sub(squares, op.Mul(means, means)), f32(0))
    means, variances = (op.Reshape(op.Expand(m, of_groups), [-1]) for m in (means, variances))
    if one_image:
        return op.BatchNormalization(x, weight, bias, means, variances, epsilon=eps)
    all_channels = op.Concat(count, op.Shape(weight), axis=0)
    weight, bias = (op.Reshape(op.Expand(w, all_channels), [-1]) for w in (weight, bias))
    as_one = op.Concat(i64([1]), op.Shape(weight), op.Slice(shape, [2], [4]), axis=0)
    x = op.BatchNormalization(
        op.Reshape(x, as_one, allowzero=1), weight, bias, means, variances, epsilon=eps
    )
    return op.Reshape(x, shape, allowzero=1)


def select_proposals(
    boxes, logits, size, nms_threshold: float, before: int, after: int, min_side: float
):
    """See :func:`operations.select_proposals`."""
    found, scores = [], []
    for level, score in zip(boxes, logits, strict=True):
        count = op.Min(op.Size(score), i64(before))
        score, which = op.TopK(score, op.Reshape(count, [1]))
        level = op.Gather(level, which)
        finite = op.And(_finite(level), _finite(op.Unsqueeze(score, [1])))
        level = _clipped(level, size)
        usable = op.Greater(op.ReduceMin(box_sides(level), [1], keepdims=0), f32(min_side))
        usable = op.And(usable, finite)
        level, score = op.Compress(level, usable, axis=0), op.Compress(score, usable, axis=0)
        kept = _nms(level, score, nms_threshold, after)
        found.append(op.Gather(level, kept))
        scores.append(op.Gather(score, kept))
    found, scores = op.Concat(*found, axis=0), op.Concat(*scores, axis=0)
    count = op.Min(op.Size(scores), i64(after))
    _, best = op.TopK(scores, op.Reshape(count, [1]))
    return op.Gather(found, best)


def box_sides(boxes):
    """(N, 2) widths and heights."""
    return op.Sub(op.Slice(boxes, [2], [4], [1]), op.Slice(boxes, [0], [2], [1]))


def _finite(rows):
    """(N,) whether all values (N, M) of a row are finite."""
    sums = op.ReduceSum(op.Mul(rows, f32(0)), [1], keepdims=0)
    return op.Equal(sums, f32(0))


def _clipped(boxes, size):
    """(..., 4) boxes, cut to an image of ``size``."""
    limits = op.Cast(op.Gather(size, i64([1, 0, 1, 0])), to=FLOAT)
    return op.Max(op.Min(boxes, limits), f32(0))


def _nms(boxes, scores, threshold: float, most: int):
    """(kept,) indices by descending score."""
    kept = op.NonMaxSuppression(
        op.Unsqueeze(boxes, [0]),
        op.Unsqueeze(scores, [0, 1]),
        i64([most]),
        f32([threshold]),
    )
    return op.Reshape(op.Slice(kept, [2], [3], [1]), [-1])


def pool(
    features,
    boxes,
    strides,
    side: int,
    samples: int,
    aligned: bool,
    canonical_size: int,
    canonical_level: int,
):
    """See :func:`operations.pool`."""
    lowest, highest = (math.log2(stride) for stride in (strides[0], strides[-1]))
    area = op.ReduceProd(box_sides(boxes), [1], keepdims=0)
    relative = op.Div(op.Sqrt(area), f32(canonical_size))
    log2 = op.Div(op.Log(op.Add(relative, f32(1e-8))), f32(math.log(2)))
    levels = op.Floor(op.Add(log2, f32(canonical_level)))
    levels = op.Clip(levels, f32(lowest), f32(highest))
    pooled, places = [], []
    for feature, stride in zip(features, strides, strict=True):
        here = op.Equal(levels, f32(math.log2(stride)))
        place = op.Reshape(op.NonZero(here), [-1])
        places.append(place)
        pooled.append(
            op.RoiAlign(
                feature,
                op.Gather(boxes, place),
                op.Mul(place, i64(0)),  # all are of the first image
                output_height=side,
                output_width=side,
                sampling_ratio=samples,
                spatial_scale=1 / stride,
                coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
            )
        )
    order = op.Concat(*places, axis=0)
    numbers = op.Range(i64(0), op.Size(order), i64(1))
    back = op.ScatterElements(op.Mul(order, i64(0)), order, numbers)
    return op.Gather(op.Concat(*pooled, axis=0), back)


def select_detections(
    boxes, probabilities, size, score_threshold: float, nms_threshold: float, most: int
):
    """See :func:`operations.select_detections`."""
    finite = op.And(_finite(boxes), _finite(probabilities))
    boxes = op.Compress(boxes, finite, axis=0)
    scores = op.Slice(op.Compress(probabilities, finite, axis=0), [0], [-1], [1])
    pairs = op.NonZero(op.Greater(scores, f32(score_threshold)))
    pairs = op.Transpose(pairs, perm=[1, 0])  # (R, 2): proposal, class
    scores = op.GatherND(scores, pairs)
    classes = op.Reshape(op.Slice(pairs, [1], [2], [1]), [-1])
    rows = op.Reshape(op.Slice(pairs, [0], [1], [1]), [-1])
    shape = op.Shape(boxes)
    choices = op.Div(op.Slice(shape, [1], [2]), i64([4]))  # 1, or one for each class
    shape = op.Concat(op.Slice(shape, [0], [1]), choices, i64([4]), axis=0)
    by_class = op.Reshape(boxes, shape, allowzero=1)
    columns = op.Min(classes, op.Sub(choices, i64([1])))
    which = op.Concat(op.Unsqueeze(rows, [1]), op.Unsqueeze(columns, [1]), axis=1)
    boxes = _clipped(op.GatherND(by_class, which), size)
    # Boxes of different classes are moved apart, so that they suppress none of another class.
    far = op.Cast(op.Add(op.ReduceMax(size, keepdims=0), i64(1)), to=FLOAT)
    apart = op.Add(boxes, op.Unsqueeze(op.Mul(op.Cast(classes, to=FLOAT), far), [1]))
    kept = _nms(apart, scores, nms_threshold, MAX_INT)
    if most >= 0:
        kept = op.Slice(kept, [0], [most])
    return op.Gather(boxes, kept), op.Gather(scores, kept), op.Gather(classes, kept)


def scale_boxes(boxes, size, image):
    """See :func:`operations.scale_boxes`."""
    new = op.Slice(op.Shape(image), [0], [2])
    factors = op.Cast(op.Div(op.Cast(new, to=DOUBLE), op.Cast(size, to=DOUBLE)), to=FLOAT)
    return _clipped(op.Mul(boxes, op.Gather(factors, i64([1, 0, 1, 0]))), new)


def enlarge(logits, size, image, stride: int):
    """See :func:`operations.enlarge`."""
    large = _bilinear(logits, op.Mul(op.Slice(op.Shape(logits), [2], [4]), i64([stride])))
    large = op.Slice(large, [0, 0], size, [2, 3])
    large = _bilinear(large, op.Slice(op.Shape(image), [0], [2]))
    return op.Squeeze(large, [0])


def _bilinear(x, size):
    sizes = op.Concat(op.Slice(op.Shape(x), [0], [2]), size, axis=0)
    return op.Resize(
        x, None, None, sizes, mode="linear", coordinate_transformation_mode="half_pixel"
    )
