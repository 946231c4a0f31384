"""Pillow's bilinear resizing to the last bit, as functions of the file.

Pillow resizes rows, then columns, by weights of 22 bits, and rounds to bytes after each.
"""

import onnxscript
from onnxscript import opset18 as op
from onnxscript import script

from efficientps_d2.deploy.whole.constants import DOUBLE, FLOAT


@script(default_opset=op)
def places(count):
    """(count,) float64 centres of the pixels of a side."""
    numbers = op.Range(op.Constant(value_int=0), count, op.Constant(value_int=1))
    return op.Cast(numbers, to=DOUBLE) + op.Cast(op.Constant(value_float=0.5), to=DOUBLE)


@script(default_opset=op)
def weights(old, new):
    """(new, old) whole numbers, as float64."""
    nothing = op.Cast(op.Constant(value_float=0.0), to=DOUBLE)
    half = op.Cast(op.Constant(value_float=0.5), to=DOUBLE)
    one = op.Cast(op.Constant(value_float=1.0), to=DOUBLE)
    unit = op.Cast(op.Constant(value_float=4194304.0), to=DOUBLE)  # 22 bits
    scale = op.Cast(old, to=DOUBLE) / op.Cast(new, to=DOUBLE)
    distances = op.Abs(places(old) - op.Unsqueeze(places(new) * scale, [1]))
    shares = op.Max(one - distances / op.Max(scale, one), nothing)
    shares = shares / op.ReduceSum(shares, [1])
    return op.Floor(shares * unit + half)


@script(default_opset=op)
def rounded(x):
    """Bytes of sums of weighted bytes."""
    unit = op.Cast(op.Constant(value_float=4194304.0), to=DOUBLE)
    half = op.Cast(op.Constant(value_float=2097152.0), to=DOUBLE)
    return op.Floor((x + half) / unit)


@script(default_opset=op)
def resized(x, size) -> onnxscript.FLOAT[...]:
    """(1, 3, *size) bytes as float32, of (1, 3, H, W)."""
    height, width = op.Gather(op.Shape(x), 2), op.Gather(op.Shape(x), 3)
    new_height, new_width = op.Gather(size, 0), op.Gather(size, 1)
    same = op.And(op.Equal(height, new_height), op.Equal(width, new_width))
    if same:
        y = op.Identity(x)
    else:
        rows = op.MatMul(op.Cast(x, to=DOUBLE), op.Transpose(weights(width, new_width)))
        columns = op.MatMul(weights(height, new_height), rounded(rows))
        y = op.Cast(rounded(columns), to=FLOAT)
    return y


HELPERS = (places, weights, rounded)
