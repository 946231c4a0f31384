"""Pillow's bilinear resizing to the last bit, as functions of the file.

Pillow resizes rows, then columns, by weights of 22 bits, and rounds to bytes after each. So does
this, a tap at a time: each pixel is a sum over as many neighbours as it covers.
"""

import onnxscript
from onnxscript import opset18 as op
from onnxscript import script

from efficientps_d2.deploy.whole.constants import DOUBLE, FLOAT, INT32, INT64


@script(default_opset=op)
def taps(old, new):
    """(T, new) whole numbers: which pixels of a side add up, clipped to it, and their weights."""
    nothing = op.Cast(op.Constant(value_float=0.0), to=DOUBLE)
    half = op.Cast(op.Constant(value_float=0.5), to=DOUBLE)
    unit = op.Cast(op.Constant(value_float=4194304.0), to=DOUBLE)  # 22 bits
    one, zero = op.Constant(value_int=1), op.Constant(value_int=0)
    scale = op.Cast(old, to=DOUBLE) / op.Cast(new, to=DOUBLE)
    reach = op.Max(scale, op.Cast(one, to=DOUBLE))
    centres = (op.Cast(op.Range(zero, new, one), to=DOUBLE) + half) * scale
    count = op.Cast(op.Ceil(reach + reach), to=INT64) + one
    offsets = op.Unsqueeze(op.Range(zero, count, one), [1])
    pixels = op.Cast(op.Floor(centres - reach), to=INT64) + offsets
    distances = op.Abs(op.Cast(pixels, to=DOUBLE) + half - centres)
    shares = op.Max(op.Cast(one, to=DOUBLE) - distances / reach, nothing)
    inside = op.And(op.GreaterOrEqual(pixels, zero), op.Less(pixels, old))
    shares = op.Where(inside, shares, nothing)
    shares = shares / op.ReduceSum(shares, [0])
    weights = op.Cast(op.Floor(shares * unit + half), to=INT32)
    return op.Min(op.Max(pixels, zero), old - one), weights


@script(default_opset=op)
def rounded(sums):
    """Bytes of sums of weighted bytes, which are below 2 ** 30."""
    unit = op.Cast(op.Constant(value_int=4194304), to=INT32)
    half = op.Cast(op.Constant(value_int=2097152), to=INT32)
    return (sums + half) / unit


@script(default_opset=op)
def rows_resized(x, width):
    """(1, 3, H, width) bytes as int32, of (1, 3, H, W)."""
    pixels, weights = taps(op.Gather(op.Shape(x), 3), width)
    nothing = op.Cast(op.Constant(value_int=0), to=INT32)
    sums = op.Expand(nothing, op.Concat(op.Shape(x, end=3), op.Reshape(width, [1]), axis=0))
    for i in range(op.Gather(op.Shape(pixels), 0)):
        sums = sums + op.Gather(x, op.Gather(pixels, i), axis=3) * op.Gather(weights, i)
    return rounded(sums)


@script(default_opset=op)
def columns_resized(x, height):
    """(1, 3, height, W) bytes as int32, of (1, 3, H, W)."""
    pixels, weights = taps(op.Gather(op.Shape(x), 2), height)
    nothing = op.Cast(op.Constant(value_int=0), to=INT32)
    shape = op.Concat([1, 3], op.Reshape(height, [1]), op.Shape(x, start=3), axis=0)
    sums = op.Expand(nothing, shape)
    for i in range(op.Gather(op.Shape(pixels), 0)):
        weight = op.Unsqueeze(op.Gather(weights, i), [1])
        sums = sums + op.Gather(x, op.Gather(pixels, i), axis=2) * weight
    return rounded(sums)


@script(default_opset=op)
def resized(x, size) -> onnxscript.FLOAT[...]:
    """(1, 3, *size) bytes as float32, of (1, 3, H, W)."""
    height, width = op.Gather(op.Shape(x), 2), op.Gather(op.Shape(x), 3)
    new_height, new_width = op.Gather(size, 0), op.Gather(size, 1)
    same = op.And(op.Equal(height, new_height), op.Equal(width, new_width))
    if same:
        y = op.Identity(x)
    else:
        whole = op.Cast(x, to=INT32)
        y = op.Cast(columns_resized(rows_resized(whole, new_width), new_height), to=FLOAT)
    return y


HELPERS = (taps, rounded, rows_resized, columns_resized)
