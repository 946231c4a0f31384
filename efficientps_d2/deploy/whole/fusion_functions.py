"""The fusion rules in ONNX: one loop over the instances, by descending score.

Functions marked ``script`` become functions of the file, the others are traced while it is written.
"""

import numpy as np
from onnxscript import INT64, script
from onnxscript import opset18 as op

from efficientps_d2.deploy.whole.constants import f32, filled, i64
from efficientps_d2.modeling.fusion.log_odds import SEMANTIC_LIMIT

FLOAT_TYPE, INT32_TYPE, INT64_TYPE, DOUBLE_TYPE = 1, 6, 7, 11  # of ONNX's TensorProto


@script(default_opset=op)
def axis_weights(start, end, low, high, cells, fade):
    """(end - start, cells) weights of the cells of a mask at the pixels of an axis.

    As ``interpolation_matrix`` of the fusion in PyTorch.
    """
    half = op.Constant(value_float=0.5)
    numbers = op.Range(op.Constant(value_int=0), cells, op.Constant(value_int=1))
    centres = op.Add(op.Cast(numbers, to=1), half)
    pixels = op.Range(op.Squeeze(start), op.Squeeze(end), op.Constant(value_int=1))
    positions = op.Add(op.Cast(pixels, to=1), half)
    count = op.Cast(cells, to=1)
    positions = op.Mul(op.Sub(positions, low), op.Div(count, op.Sub(high, low)))
    inside = op.Clip(positions, half, op.Sub(count, half))
    positions = op.Where(fade, positions, inside)
    distances = op.Abs(op.Sub(op.Unsqueeze(positions, [1]), op.Unsqueeze(centres, [0])))
    return op.Max(op.Sub(op.Constant(value_float=1.0), distances), op.Constant(value_float=0.0))


@script(default_opset=op)
def touched(low, high, side):
    """First pixel that an interval touches in ``side`` pixels, and the one after the last."""
    nothing = op.Constant(value_int=0)
    first = op.Clip(op.Cast(op.Floor(low), to=7), nothing, side)
    last = op.Clip(op.Cast(op.Ceil(high), to=7), first, side)
    return op.Reshape(first, [1]), op.Reshape(last, [1])


@script(default_opset=op)
def pasted(box, mask, size, fade, margins):
    """The values of a mask in the window that its box touches, with margins (2,) of x and y.

    Returns:
        (h, w) values, and the corners of the window, (2,) y and x each, half-open.
    """
    x0, y0, x1, y1 = op.Gather(box, 0), op.Gather(box, 1), op.Gather(box, 2), op.Gather(box, 3)
    dx, dy = op.Gather(margins, 0), op.Gather(margins, 1)
    cells = op.Gather(op.Shape(mask), 0)
    top, bottom = touched(y0 - dy, y1 + dy, op.Gather(size, 0))
    left, right = touched(x0 - dx, x1 + dx, op.Gather(size, 1))
    rows = axis_weights(top, bottom, y0, y1, cells, fade)
    columns = axis_weights(left, right, x0, x1, cells, fade)
    values = op.MatMul(op.MatMul(rows, mask), op.Transpose(columns))
    return values, op.Concat(top, left, axis=0), op.Concat(bottom, right, axis=0)


@script(default_opset=op)
def semantic_window(sem_seg, channel, starts, ends):
    """(h, w) logits of one class, (1,), in a window."""
    first = op.Concat(channel, starts, axis=0)
    last = op.Concat(channel + op.Constant(value_ints=[1]), ends, axis=0)
    return op.Squeeze(op.Slice(sem_seg, first, last), [0])


@script(default_opset=op)
def has_room(mask, occupied, starts, ends, overlap_threshold):
    """Whether a mask (h, w) in a window is not empty and not too much of it is occupied."""
    taken = op.And(mask, op.Slice(occupied, starts, ends))
    area = op.ReduceSum(op.Cast(mask, to=1), keepdims=0)
    covered = op.ReduceSum(op.Cast(taken, to=1), keepdims=0)
    is_there = op.Greater(area, op.Constant(value_float=0.0))
    return op.And(is_there, op.LessOrEqual(covered, overlap_threshold * area))


@script(default_opset=op)
def everywhere(values, starts, ends, size, outside):
    """(H, W) values of a window, and ``outside`` around it."""
    return op.Pad(values, op.Concat(starts, size - ends, axis=0), outside)


@script(default_opset=op)
def log_odds_winners(
    boxes, mask_logits, channels, sem_seg, stuff, overlap_threshold, weight, limit
) -> INT64[...]:
    """(H, W) int64: which instance has a pixel, from 1; 0 for none."""
    size = op.Shape(stuff)
    winner = op.Expand(op.Constant(value_int=0), size)
    best = op.Expand(op.Constant(value_float=0.0), size)
    occupied = op.Cast(winner, to=9)
    no_fade = op.Cast(op.Constant(value_int=0), to=9)
    no_margins = op.Constant(value_floats=[0.0, 0.0])
    below = op.Constant(value_float=-1.0)
    nothing = op.Constant(value_float=0.0)
    count = op.Gather(op.Shape(boxes), 0)
    for i in range(count):
        logits, starts, ends = pasted(
            op.Gather(boxes, i), op.Gather(mask_logits, i), size, no_fade, no_margins
        )
        channel = op.Reshape(op.Gather(channels, i), [1])
        semantic = semantic_window(sem_seg, channel, starts, ends) - op.Slice(stuff, starts, ends)
        odds = logits + weight * op.Clip(semantic, op.Neg(limit), limit)
        fits = has_room(op.Greater(odds, nothing), occupied, starts, ends, overlap_threshold)
        number = i + op.Constant(value_int=1)
        if fits:
            wide = everywhere(odds, starts, ends, size, below)
            new_winner = op.Where(op.Greater(wide, best), number, winner)
            new_best = op.Max(wide, best)
            new_occupied = op.Or(occupied, op.Greater(wide, nothing))
        else:
            new_winner = op.Identity(winner)
            new_best = op.Identity(best)
            new_occupied = op.Identity(occupied)
        winner = new_winner
        best = new_best
        occupied = new_occupied
    return winner


@script(default_opset=op)
def adaptive_winners(
    boxes, mask_logits, channels, sem_seg, stuff, overlap_threshold, scale, outside, reach
) -> INT64[...]:
    """As :func:`log_odds_winners`; FL is ``outside`` beyond ``reach`` cells around a box."""
    size = op.Shape(stuff)
    winner = op.Expand(op.Constant(value_int=0), size)
    best = op.Identity(stuff)
    occupied = op.Cast(winner, to=9)
    fade = op.Cast(op.Constant(value_int=1), to=9)
    no_margins = op.Constant(value_floats=[0.0, 0.0])
    nothing = op.Constant(value_float=0.0)
    cell = op.Cast(op.Gather(op.Shape(mask_logits), 2), to=1)
    count = op.Gather(op.Shape(boxes), 0)
    for i in range(count):
        box = op.Gather(boxes, i)
        sides = op.Slice(box, [2], [4]) - op.Slice(box, [0], [2])
        mask_logit, starts, ends = pasted(
            box, op.Gather(mask_logits, i), size, fade, sides * reach / cell
        )
        mask = op.Greater(mask_logit, nothing)
        fits = has_room(mask, occupied, starts, ends, overlap_threshold)
        number = i + op.Constant(value_int=1)
        if fits:
            # The semantic logit counts in the pixels that the box itself touches.
            unused, inner_starts, inner_ends = pasted(
                box, op.Gather(mask_logits, i), size, fade, no_margins
            )
            channel = op.Reshape(op.Gather(channels, i), [1])
            inner = semantic_window(sem_seg, channel, inner_starts, inner_ends)
            semantic = everywhere(
                inner, inner_starts - starts, inner_ends - starts, ends - starts, nothing
            )
            logit = mask_logit * scale
            fused = (op.Sigmoid(logit) + op.Sigmoid(semantic)) * (logit + semantic)
            wide = everywhere(fused, starts, ends, size, outside)
            new_winner = op.Where(op.Greater(wide, best), number, winner)
            new_best = op.Max(wide, best)
            wide_mask = everywhere(op.Cast(mask, to=1), starts, ends, size, nothing)
            new_occupied = op.Or(occupied, op.Cast(wide_mask, to=9))
        else:
            new_winner = op.Identity(winner)
            new_best = op.Identity(best)
            new_occupied = op.Identity(occupied)
        winner = new_winner
        best = new_best
        occupied = new_occupied
    return winner


@script(default_opset=op)
def first_winners(boxes, probabilities, size, overlap_threshold) -> INT64[...]:
    """As :func:`log_odds_winners`, by Detectron2's merge: what is taken stays."""
    winner = op.Expand(op.Constant(value_int=0), size)
    fade = op.Cast(op.Constant(value_int=1), to=9)
    margins = op.Constant(value_floats=[1.0, 1.0])  # as in Detectron2's pasting
    half = op.Constant(value_float=0.5)
    nothing = op.Constant(value_float=0.0)
    count = op.Gather(op.Shape(boxes), 0)
    for i in range(count):
        values, starts, ends = pasted(
            op.Gather(boxes, i), op.Gather(probabilities, i), size, fade, margins
        )
        mask = op.GreaterOrEqual(values, half)
        occupied = op.Cast(winner, to=9)
        fits = has_room(mask, occupied, starts, ends, overlap_threshold)
        number = i + op.Constant(value_int=1)
        if fits:
            wide = everywhere(op.Cast(mask, to=1), starts, ends, size, nothing)
            free = op.And(op.Cast(wide, to=9), op.Not(occupied))
            new_winner = op.Where(free, number, winner)
        else:
            new_winner = op.Identity(winner)
        winner = new_winner
    return winner


# What the loops call; PyTorch's exporter does not see these.
HELPERS = (axis_weights, touched, pasted, semantic_window, has_room, everywhere)


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
    """See :func:`operations.fuse`."""
    things = i64(thing_class_ids)
    stuff_ids = i64(stuff_class_ids)
    order = _candidates(boxes, scores, score_threshold, inclusive=method == "heuristic")
    boxes, scores = op.Gather(boxes, order), op.Gather(scores, order)
    mask_logits = op.Gather(mask_logits, order)
    channels = op.Gather(things, op.Gather(classes, order))
    labels = op.ArgMax(sem_seg, axis=0, keepdims=0)
    if method == "log_odds":
        stuff = op.ReduceLogSumExp(op.Gather(sem_seg, stuff_ids), [0], keepdims=0)
        winner = log_odds_winners(
            *(boxes, mask_logits, channels, sem_seg, stuff, overlap_threshold),
            f32(semantic_weight),
            f32(SEMANTIC_LIMIT),
        )
    elif method == "adaptive":
        stuff = op.ReduceMax(op.Gather(sem_seg, stuff_ids), [0], keepdims=0)
        winner = adaptive_winners(
            *(boxes, mask_logits, channels, sem_seg, stuff, overlap_threshold),
            f32(mask_logit_scale),
            f32(-np.inf if confine_to_box else 0.0),
            f32(0.0 if confine_to_box else 0.5),
        )
    else:
        probabilities = op.Sigmoid(mask_logits)
        size = op.Slice(op.Shape(sem_seg), [1], [3])
        winner = first_winners(boxes, probabilities, size, overlap_threshold)
    return *_segments(
        winner, labels, sem_seg, channels, scores, stuff_ids, stuff_area_limit
    ), labels


def _candidates(boxes, scores, threshold, inclusive: bool):
    """Indices of the instances that may be used, by descending score."""
    above = op.GreaterOrEqual if inclusive else op.Greater
    _, order = op.TopK(scores, op.Shape(scores))
    sides = op.Sub(op.Slice(boxes, [2], [4], [1]), op.Slice(boxes, [0], [2], [1]))
    has_area = op.Greater(op.ReduceMin(sides, [1], keepdims=0), f32(0))
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
    numbers = op.Mul(op.CumSum(op.Cast(seen, to=INT64_TYPE), i64(0)), op.Cast(seen, to=INT64_TYPE))
    pan_seg = op.Gather(op.Concat(zero, numbers, axis=0), winner)
    things = op.ReduceSum(op.Cast(seen, to=INT64_TYPE), keepdims=1)

    classes = op.Slice(op.Shape(sem_seg), [0], [1])
    left = op.Where(op.Equal(pan_seg, i64(0)), labels, classes)
    size = op.Add(classes, one)
    stuff_areas = op.Gather(_count(left, size), stuff_ids)
    limit = op.Max(stuff_area_limit, i64(1))
    kept = op.GreaterOrEqual(stuff_areas, limit)
    kept_number = op.Cast(kept, to=INT64_TYPE)
    numbers = op.Mul(op.Add(op.CumSum(kept_number, i64(0)), things), kept_number)
    table = op.ScatterElements(filled(size, 0), stuff_ids, numbers)
    pan_seg = op.Cast(op.Add(pan_seg, op.Gather(table, left)), to=INT32_TYPE)

    own = op.Squeeze(op.GatherElements(sem_seg, op.Unsqueeze(labels, [0]), axis=0), [0])
    probability = op.Exp(op.Sub(own, op.ReduceLogSumExp(sem_seg, [0], keepdims=0)))
    totals = op.Gather(_add_up(left, size, op.Cast(probability, to=DOUBLE_TYPE)), stuff_ids)
    means = op.Cast(op.Div(totals, op.Cast(stuff_areas, to=DOUBLE_TYPE)), to=FLOAT_TYPE)
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
