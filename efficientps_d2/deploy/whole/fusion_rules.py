"""What instances say of the pixels of a part of the image, by each rule of fusion.

These functions become functions of the file. Of each rule one finds the mask of one instance, and
one the levels by which the instances of a tile and stuff compete: the highest has the pixel, the
first of equal ones.
"""

from typing import NamedTuple

from onnxscript import OnnxFunction, script
from onnxscript import opset18 as op

from efficientps_d2.deploy.whole.constants import FLOAT


@script(default_opset=op)
def axis_weights(start, end, low, high, cells, fade):
    """(n, end - start, cells) weights of the cells of masks, from low to high (n, 1), at pixels.

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
    distances = op.Abs(op.Sub(op.Unsqueeze(positions, [2]), centres))
    return op.Relu(op.Sub(op.Constant(value_float=1.0), distances))


@script(default_opset=op)
def pasted(boxes, masks, first, last, fade):
    """(n, h, w) values of masks (n, M, M) at the pixels between corners (2,) of row and column."""
    x0, y0, x1, y1 = op.Split(boxes, axis=1, num_outputs=4)
    cells = op.Gather(op.Shape(masks), 1)
    rows = axis_weights(op.Gather(first, 0), op.Gather(last, 0), y0, y1, cells, fade)
    columns = axis_weights(op.Gather(first, 1), op.Gather(last, 1), x0, x1, cells, fade)
    return op.MatMul(op.MatMul(rows, masks), op.Transpose(columns, perm=[0, 2, 1]))


@script(default_opset=op)
def within(windows, first, last):
    """(n, h, w): whether the pixels between two corners are in windows (n, 4)."""
    one = op.Constant(value_int=1)
    rows = op.Range(op.Gather(first, 0), op.Gather(last, 0), one)
    columns = op.Range(op.Gather(first, 1), op.Gather(last, 1), one)
    top, left, bottom, right = op.Split(windows, axis=1, num_outputs=4)
    in_rows = op.And(op.GreaterOrEqual(rows, top), op.Less(rows, bottom))
    in_columns = op.And(op.GreaterOrEqual(columns, left), op.Less(columns, right))
    return op.And(op.Unsqueeze(in_rows, [2]), op.Unsqueeze(in_columns, [1]))


@script(default_opset=op)
def zeros(first, last):
    """(1, h, w) of the pixels between two corners."""
    return op.Expand(op.Constant(value_float=0.0), op.Concat([1], last - first, axis=0))


@script(default_opset=op)
def semantic_of(sem_seg, channels, first, last):
    """(n, h, w) logits of the classes of instances at the pixels between two corners."""
    return op.Gather(op.Slice(sem_seg, first, last, [1, 2]), channels)


@script(default_opset=op)
def log_odds(boxes, masks, semantic, stuff, first, last, knobs):
    """(n, h, w) log odds; semantic logits (n, h, w), those of stuff (h, w), knobs of the weight."""
    no_fade = op.Less(op.Constant(value_int=1), op.Constant(value_int=0))
    weight, limit = op.Gather(knobs, 0), op.Gather(knobs, 1)
    margin = op.Clip(semantic - stuff, op.Neg(limit), limit)
    return pasted(boxes, masks, first, last, no_fade) + weight * margin


@script(default_opset=op)
def log_odds_mask(box, mask, channel, sem_seg, stuff, first, last, knobs):
    """(1, h, w): where one instance is, in its window."""
    corner = op.Concat(channel, first, axis=0)
    other = op.Concat(channel + op.Constant(value_ints=[1]), last, axis=0)
    semantic = op.Slice(sem_seg, corner, other)
    odds = log_odds(box, mask, semantic, op.Slice(stuff, first, last), first, last, knobs)
    return op.Greater(odds, op.Constant(value_float=0.0))


@script(default_opset=op)
def log_odds_levels(boxes, masks, channels, windows, sem_seg, stuff, first, last, knobs):
    """(n + 1, h, w): what is compared at the pixels of a tile, of stuff first."""
    of_stuff = op.Slice(stuff, first, last)
    semantic = semantic_of(sem_seg, channels, first, last)
    odds = log_odds(boxes, masks, semantic, of_stuff, first, last, knobs)
    nothing = op.Constant(value_float=0.0)
    odds = op.Where(within(windows, first, last), odds, nothing)
    return op.Concat(zeros(first, last), odds, axis=0)


@script(default_opset=op)
def adaptive_mask(box, mask, channel, sem_seg, stuff, first, last, knobs):
    """As :func:`log_odds_mask`."""
    fade = op.Less(op.Constant(value_int=0), op.Constant(value_int=1))
    return op.Greater(pasted(box, mask, first, last, fade), op.Constant(value_float=0.0))


@script(default_opset=op)
def adaptive_levels(boxes, masks, channels, windows, sem_seg, stuff, first, last, knobs):
    """As :func:`log_odds_levels`; FL with the factor of mask logits and the value outside a box."""
    fade = op.Less(op.Constant(value_int=0), op.Constant(value_int=1))
    scale, outside = op.Gather(knobs, 0), op.Gather(knobs, 1)
    nothing = op.Constant(value_float=0.0)
    logit = pasted(boxes, masks, first, last, fade) * scale
    # The semantic logit counts in the pixels that the box itself touches.
    inner = within(windows, first, last)
    semantic = op.Where(inner, semantic_of(sem_seg, channels, first, last), nothing)
    fused = (op.Sigmoid(logit) + op.Sigmoid(semantic)) * (logit + semantic)
    fused = fused + op.Where(inner, nothing, outside)
    return op.Concat(op.Unsqueeze(op.Slice(stuff, first, last), [0]), fused, axis=0)


@script(default_opset=op)
def heuristic_mask(box, mask, channel, sem_seg, stuff, first, last, knobs):
    """As :func:`log_odds_mask`, of probabilities."""
    fade = op.Less(op.Constant(value_int=0), op.Constant(value_int=1))
    return op.GreaterOrEqual(pasted(box, mask, first, last, fade), op.Constant(value_float=0.5))


@script(default_opset=op)
def heuristic_levels(boxes, masks, channels, windows, sem_seg, stuff, first, last, knobs):
    """As :func:`log_odds_levels`, by Detectron2's merge: all have 1, and the first is taken."""
    masks_here = heuristic_mask(boxes, masks, channels, sem_seg, stuff, first, last, knobs)
    here = op.And(masks_here, within(windows, first, last))
    return op.Concat(zeros(first, last), op.Cast(here, to=FLOAT), axis=0)


class Rule(NamedTuple):
    mask: OnnxFunction
    levels: OnnxFunction


RULES = {
    "adaptive": Rule(adaptive_mask, adaptive_levels),
    "heuristic": Rule(heuristic_mask, heuristic_levels),
    "log_odds": Rule(log_odds_mask, log_odds_levels),
}
HELPERS = (
    axis_weights,
    pasted,
    within,
    zeros,
    semantic_of,
    log_odds,
    *(f for rule in RULES.values() for f in rule),
)
