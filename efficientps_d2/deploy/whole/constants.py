"""Types and constants of a file."""

import numpy as np
import onnx
from onnxscript import opset18 as op

FLOAT, INT32, INT64, BOOL, DOUBLE = 1, 6, 7, 9, 11  # of ONNX's TensorProto


def f32(value):
    return _constant(value, np.float32)


def f64(value):
    return _constant(value, np.float64)


def i64(value):
    return _constant(value, np.int64)


def filled(shape, value, dtype=np.int64):
    """A tensor of one value; PyTorch's optimizer takes some of those by ``Expand`` for needless."""
    return op.ConstantOfShape(shape, value=onnx.numpy_helper.from_array(np.array([value], dtype)))


def _constant(value, dtype):
    return op.Constant(value=onnx.numpy_helper.from_array(np.asarray(value, dtype=dtype)))
