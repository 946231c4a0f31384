"""Runs networks that ``efficientps-d2 export --format onnx`` has written, without PyTorch.

``load(path)(image)`` gives a :class:`Prediction`. The parts that training and prediction with
PyTorch share with it (errors, files, images, COCO's format, colours) live here, too. Only
:mod:`network` needs ONNX Runtime.
"""

from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.prediction import Prediction
from efficientps_d2_runtime.result import Segment

__all__ = ["InputError", "Network", "Prediction", "Segment", "load"]
__version__ = "0.1.0"


def __getattr__(name: str):
    """ONNX Runtime is imported when it is first needed: training does not need it."""
    if name in ("Network", "load"):
        from efficientps_d2_runtime import network

        return getattr(network, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
