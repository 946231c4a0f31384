"""The fusion in ONNX: candidates, their competition for pixels, and segments.

As those of :mod:`functions`, these functions are traced while a file is written.
"""

import numpy as np
from onnxscript import opset18 as op

from efficientps_d2.deploy.whole.constants import DOUBLE, FLOAT, INT32, INT64, f32, filled, i64
from efficientps_d2.deploy.whole.functions import box_sides
from efficientps_d2.deploy.whole.winners import room_loop, tile_loop
from efficientps_d2.modeling.fusion.log_odds import SEMANTIC_LIMIT


def fuse(
    boxes,
    scores,
    classes,
    mask_logits,
    sem_seg,
    score_threshold,
    overlap_threshold,
    stuff_area_limit,
    method: str,
    thing_class_ids,
    stuff_class_ids,
    semantic_weight: float,
    mask_logit_scale: float,
    confine_to_box: bool,
):
    """See :func:`fusion_operation.fuse`."""
    things, stuff_ids = i64(thing_class_ids), i64(stuff_class_ids)
    order = _candidates(boxes, scores, score_threshold, inclusive=method == "heuristic")
    boxes, scores = op.Gather(boxes, order), op.Gather(scores, order)
    masks = op.Gather(mask_logits, order)
    channels = op.Gather(things, op.Gather(classes, order))
    labels = op.ArgMax(sem_seg, axis=0, keepdims=0)
    join = op.ReduceLogSumExp if method == "log_odds" else op.ReduceMax
    stuff = join(op.Gather(sem_seg, stuff_ids), [0], keepdims=0)
    outside = -np.inf if confine_to_box else 0.0
    knobs = {"log_odds": [semantic_weight, SEMANTIC_LIMIT], "adaptive": [mask_logit_scale, outside]}
    knobs = f32(knobs.get(method, [0.0, 0.0]))
    fades = method == "adaptive" and not confine_to_box
    windows, inner, reaches = _all_windows(boxes, masks, op.Shape(stuff), method, fades)
    if method == "heuristic":
        masks = op.Sigmoid(masks)
    fits = room_loop(method)(
        *(boxes, masks, channels, windows, sem_seg, stuff, overlap_threshold, knobs)
    )
    ranks = op.Range(i64(1), op.Add(op.Size(fits), i64(1)), i64(1))
    numbers = op.Mul(ranks, op.Cast(fits, to=INT64))
    winner = tile_loop(method)(
        *(boxes, masks, channels, inner, reaches, numbers, sem_seg, stuff, knobs)
    )
    return *_segments(
        winner, labels, sem_seg, channels, scores, stuff_ids, stuff_area_limit
    ), labels


def _all_windows(boxes, masks, size, method: str, fades: bool):
    """(N, 4) windows of the masks, of the pixels that boxes touch, and in which they compete."""
    if method == "heuristic":
        windows = _windows(boxes, size, f32([1.0, 1.0]))  # as in its pasting
        return windows, windows, windows
    inner = _windows(boxes, size)
    if not fades:
        return inner, inner, inner
    # Masks fade out over half a cell around a box, and then 0 competes everywhere.
    cells = op.Cast(op.Slice(op.Shape(masks), [2], [3]), to=FLOAT)
    windows = _windows(boxes, size, op.Div(op.Mul(box_sides(boxes), f32(0.5)), cells))
    everywhere = op.Concat(i64([0, 0]), size, axis=0)
    return windows, inner, op.Add(op.Mul(windows, i64(0)), everywhere)


def _windows(boxes, size, margins=None):
    """(N, 4) first row and column that boxes touch, and those after the last.

    Args:
        size: (2,) height and width of the image.
        margins: (N, 2) x and y, by which they are enlarged.
    """
    first, last = op.Slice(boxes, [0], [2], [1]), op.Slice(boxes, [2], [4], [1])
    if margins is not None:
        first, last = op.Sub(first, margins), op.Add(last, margins)
    yx, sides = i64([1, 0]), op.Cast(size, to=FLOAT)
    first = op.Min(op.Max(op.Floor(op.Gather(first, yx, axis=1)), f32(0)), sides)
    last = op.Min(op.Max(op.Ceil(op.Gather(last, yx, axis=1)), first), sides)
    return op.Cast(op.Concat(first, last, axis=1), to=INT64)


def _candidates(boxes, scores, threshold, inclusive: bool):
    """Indices of the instances that may be used, by descending score."""
    above = op.GreaterOrEqual if inclusive else op.Greater
    _, order = op.TopK(scores, op.Shape(scores))
    has_area = op.Greater(op.ReduceMin(box_sides(boxes), [1], keepdims=0), f32(0))
    usable = op.And(above(scores, threshold), has_area)
    return op.Compress(order, op.Gather(usable, order), axis=0)


def _segments(winner, labels, sem_seg, channels, scores, stuff_ids, stuff_area_limit):
    """Number what won pixels from 1 on, then stuff in what is left of it.

    Args:
        winner: (H, W) int64 index of the instance that has a pixel, from 1; 0 for none.
        labels: (H, W) int64 semantic classes.
    """
    zero, one = i64([0]), i64([1])
    areas = op.Slice(_count(winner, op.Add(op.Shape(channels), one)), one, [2**62])
    seen = op.Greater(areas, i64(0))
    numbers = op.Mul(op.CumSum(op.Cast(seen, to=INT64), i64(0)), op.Cast(seen, to=INT64))
    pan_seg = op.Gather(op.Concat(zero, numbers, axis=0), winner)
    things = op.ReduceSum(op.Cast(seen, to=INT64), keepdims=1)

    classes = op.Slice(op.Shape(sem_seg), [0], [1])
    left = op.Where(op.Equal(pan_seg, i64(0)), labels, classes)
    size = op.Add(classes, one)
    stuff_areas = op.Gather(_count(left, size), stuff_ids)
    limit = op.Max(stuff_area_limit, i64(1))
    kept = op.GreaterOrEqual(stuff_areas, limit)
    kept_number = op.Cast(kept, to=INT64)
    numbers = op.Mul(op.Add(op.CumSum(kept_number, i64(0)), things), kept_number)
    table = op.ScatterElements(filled(size, 0), stuff_ids, numbers)
    pan_seg = op.Cast(op.Add(pan_seg, op.Gather(table, left)), to=INT32)

    own = op.Squeeze(op.GatherElements(sem_seg, op.Unsqueeze(labels, [0]), axis=0), [0])
    probability = op.Exp(op.Sub(own, op.ReduceLogSumExp(sem_seg, [0], keepdims=0)))
    totals = op.Gather(_add_up(left, size, op.Cast(probability, to=DOUBLE)), stuff_ids)
    means = op.Cast(op.Div(totals, op.Cast(stuff_areas, to=DOUBLE)), to=FLOAT)
    isthing = op.Concat(
        op.Compress(seen, seen, axis=0), op.Not(op.Compress(kept, kept, axis=0)), axis=0
    )
    return (
        pan_seg,
        op.Concat(
            op.Compress(channels, seen, axis=0), op.Compress(stuff_ids, kept, axis=0), axis=0
        ),
        isthing,
        op.Concat(op.Compress(scores, seen, axis=0), op.Compress(means, kept, axis=0), axis=0),
        op.Concat(op.Compress(areas, seen, axis=0), op.Compress(stuff_areas, kept, axis=0), axis=0),
    )


def _count(values, size):
    """How often each whole number below ``size``, (1,), occurs."""
    flat = op.Reshape(values, [-1])
    ones = filled(op.Shape(flat), 1)
    return op.ScatterElements(filled(size, 0), flat, ones, reduction="add")


def _add_up(values, size, weights):
    """The sum of the weights at each whole number."""
    zeros = filled(size, 0, np.float64)
    flat, weights = op.Reshape(values, [-1]), op.Reshape(weights, [-1])
    return op.ScatterElements(zeros, flat, weights, reduction="add")
