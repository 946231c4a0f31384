"""Which instance has a pixel: one loop over the instances, by descending score, for each rule.

These functions become functions of the file; what a loop calls is put in its place.
"""

from onnxscript import INT64, script
from onnxscript import opset18 as op

from efficientps_d2.deploy.whole.constants import BOOL, FLOAT
from efficientps_d2.deploy.whole.constants import INT64 as INT


@script(default_opset=op)
def axis_weights(start, end, low, high, cells, fade):
    """(end - start, cells) weights of the cells of a mask at the pixels of an axis.

    As ``interpolation_matrix`` of the fusion in PyTorch.
    """
    half = op.Constant(value_float=0.5)
    numbers = op.Range(op.Constant(value_int=0), cells, op.Constant(value_int=1))
    centres = op.Add(op.Cast(numbers, to=FLOAT), half)
    pixels = op.Range(start, end, op.Constant(value_int=1))
    positions = op.Add(op.Cast(pixels, to=FLOAT), half)
    count = op.Cast(cells, to=FLOAT)
    positions = op.Mul(op.Sub(positions, low), op.Div(count, op.Sub(high, low)))
    inside = op.Clip(positions, half, op.Sub(count, half))
    positions = op.Where(fade, positions, inside)
    distances = op.Abs(op.Sub(op.Unsqueeze(positions, [1]), op.Unsqueeze(centres, [0])))
    return op.Max(op.Sub(op.Constant(value_float=1.0), distances), op.Constant(value_float=0.0))


@script(default_opset=op)
def touched(low, high, side):
    """First pixel that an interval touches in ``side`` pixels, and the one after the last."""
    nothing = op.Constant(value_int=0)
    first = op.Clip(op.Cast(op.Floor(low), to=INT), nothing, side)
    last = op.Clip(op.Cast(op.Ceil(high), to=INT), first, side)
    return op.Reshape(first, [1]), op.Reshape(last, [1])


@script(default_opset=op)
def window(box, size, margins):
    """The pixels that a box touches, with margins (2,) of x and y.

    Returns:
        First row and column, and those after the last, (2,) each.
    """
    dx, dy = op.Gather(margins, 0), op.Gather(margins, 1)
    top, bottom = touched(op.Gather(box, 1) - dy, op.Gather(box, 3) + dy, op.Gather(size, 0))
    left, right = touched(op.Gather(box, 0) - dx, op.Gather(box, 2) + dx, op.Gather(size, 1))
    return op.Concat(top, left, axis=0), op.Concat(bottom, right, axis=0)


@script(default_opset=op)
def pasted(box, mask, starts, ends, fade):
    """(h, w) values of a mask in a window."""
    x0, y0, x1, y1 = op.Gather(box, 0), op.Gather(box, 1), op.Gather(box, 2), op.Gather(box, 3)
    cells = op.Gather(op.Shape(mask), 0)
    rows = axis_weights(op.Gather(starts, 0), op.Gather(ends, 0), y0, y1, cells, fade)
    columns = axis_weights(op.Gather(starts, 1), op.Gather(ends, 1), x0, x1, cells, fade)
    return op.MatMul(op.MatMul(rows, mask), op.Transpose(columns))


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
    area = op.ReduceSum(op.Cast(mask, to=FLOAT), keepdims=0)
    covered = op.ReduceSum(op.Cast(taken, to=FLOAT), keepdims=0)
    is_there = op.Greater(area, op.Constant(value_float=0.0))
    return op.And(is_there, op.LessOrEqual(covered, overlap_threshold * area))


@script(default_opset=op)
def everywhere(values, starts, ends, size, outside):
    """(H, W) values of a window, and ``outside`` around it."""
    return op.Pad(values, op.Concat(starts, size - ends, axis=0), outside)


@script(default_opset=op)
def compete(values, mask, starts, ends, outside, number, threshold, winner, best, occupied):
    """Let an instance, whose mask needs room, win the pixels where its values are the largest.

    Args:
        values, mask: in a window; ``outside`` is the value elsewhere.
        number: of the instance.
        winner, best, occupied: (H, W) number and value of the best so far, and whether an instance
            is there; the new ones are returned.
    """
    fits = has_room(mask, occupied, starts, ends, threshold)
    size = op.Shape(winner)
    if fits:
        wide = everywhere(values, starts, ends, size, outside)
        wide_mask = everywhere(mask, starts, ends, size, op.Cast(op.Constant(value_int=0), to=BOOL))
        new_winner = op.Where(op.Greater(wide, best), number, winner)
        new_best = op.Max(wide, best)
        new_occupied = op.Or(occupied, wide_mask)
    else:
        new_winner = op.Identity(winner)
        new_best = op.Identity(best)
        new_occupied = op.Identity(occupied)
    return new_winner, new_best, new_occupied


@script(default_opset=op)
def log_odds_winners(
    boxes, mask_logits, channels, sem_seg, stuff, overlap_threshold, weight, limit
) -> INT64[...]:
    """(H, W) int64: which instance has a pixel, from 1; 0 for none."""
    size = op.Shape(stuff)
    winner = op.Expand(op.Constant(value_int=0), size)
    best = op.Expand(op.Constant(value_float=0.0), size)
    occupied = op.Cast(winner, to=BOOL)
    no_fade = op.Cast(op.Constant(value_int=0), to=BOOL)
    no_margins = op.Constant(value_floats=[0.0, 0.0])
    nothing = op.Constant(value_float=0.0)
    count = op.Gather(op.Shape(boxes), 0)
    for i in range(count):
        box = op.Gather(boxes, i)
        starts, ends = window(box, size, no_margins)
        logits = pasted(box, op.Gather(mask_logits, i), starts, ends, no_fade)
        channel = op.Reshape(op.Gather(channels, i), [1])
        semantic = semantic_window(sem_seg, channel, starts, ends) - op.Slice(stuff, starts, ends)
        odds = logits + weight * op.Clip(semantic, op.Neg(limit), limit)
        number = i + op.Constant(value_int=1)
        mask = op.Greater(odds, nothing)
        winner, best, occupied = compete(
            odds, mask, starts, ends, nothing, number, overlap_threshold, winner, best, occupied
        )
    return winner


@script(default_opset=op)
def adaptive_winners(
    boxes, mask_logits, channels, sem_seg, stuff, overlap_threshold, scale, outside, reach
) -> INT64[...]:
    """As :func:`log_odds_winners`; FL is ``outside`` beyond ``reach`` cells around a box."""
    size = op.Shape(stuff)
    winner = op.Expand(op.Constant(value_int=0), size)
    best = op.Identity(stuff)
    occupied = op.Cast(winner, to=BOOL)
    fade = op.Cast(op.Constant(value_int=1), to=BOOL)
    no_margins = op.Constant(value_floats=[0.0, 0.0])
    nothing = op.Constant(value_float=0.0)
    cell = op.Cast(op.Gather(op.Shape(mask_logits), 2), to=FLOAT)
    count = op.Gather(op.Shape(boxes), 0)
    for i in range(count):
        box = op.Gather(boxes, i)
        sides = op.Slice(box, [2], [4]) - op.Slice(box, [0], [2])
        starts, ends = window(box, size, sides * reach / cell)
        mask_logit = pasted(box, op.Gather(mask_logits, i), starts, ends, fade)
        # The semantic logit counts in the pixels that the box itself touches.
        inner_starts, inner_ends = window(box, size, no_margins)
        channel = op.Reshape(op.Gather(channels, i), [1])
        inner = semantic_window(sem_seg, channel, inner_starts, inner_ends)
        semantic = everywhere(
            inner, inner_starts - starts, inner_ends - starts, ends - starts, nothing
        )
        logit = mask_logit * scale
        fused = (op.Sigmoid(logit) + op.Sigmoid(semantic)) * (logit + semantic)
        number = i + op.Constant(value_int=1)
        mask = op.Greater(mask_logit, nothing)
        winner, best, occupied = compete(
            fused, mask, starts, ends, outside, number, overlap_threshold, winner, best, occupied
        )
    return winner


@script(default_opset=op)
def first_winners(boxes, probabilities, size, overlap_threshold) -> INT64[...]:
    """As :func:`log_odds_winners`, by Detectron2's merge: what is taken stays.

    So all instances have the value 1, and the next one is no larger.
    """
    winner = op.Expand(op.Constant(value_int=0), size)
    best = op.Expand(op.Constant(value_float=0.0), size)
    occupied = op.Cast(winner, to=BOOL)
    fade = op.Cast(op.Constant(value_int=1), to=BOOL)
    margins = op.Constant(value_floats=[1.0, 1.0])  # as in Detectron2's pasting
    half = op.Constant(value_float=0.5)
    nothing = op.Constant(value_float=0.0)
    count = op.Gather(op.Shape(boxes), 0)
    for i in range(count):
        box = op.Gather(boxes, i)
        starts, ends = window(box, size, margins)
        values = pasted(box, op.Gather(probabilities, i), starts, ends, fade)
        mask = op.GreaterOrEqual(values, half)
        ones = op.Cast(mask, to=FLOAT)
        number = i + op.Constant(value_int=1)
        winner, best, occupied = compete(
            ones, mask, starts, ends, nothing, number, overlap_threshold, winner, best, occupied
        )
    return winner


# What the loops call; PyTorch's exporter does not see these.
HELPERS = (axis_weights, touched, window, pasted, semantic_window, has_room, everywhere, compete)
