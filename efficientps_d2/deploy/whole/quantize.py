"""A whole network whose convolutions compute in 8 bits."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from efficientps_d2.deploy.whole.notes import note
from efficientps_d2_runtime.errors import InputError

WARNING, ERROR = 2, 3  # of ONNX Runtime's own log
CALIBRATING, PART = 32, 4  # images, at most; and of a dataset one in so many
QUANTIZED = ("Conv",)
PREDICTORS = ("predictor", "objectness_logits", "anchor_deltas")  # in the names of their weights


class _Images(CalibrationDataReader):
    def __init__(self, images: Iterator[np.ndarray]):
        self.images = images

    def get_next(self) -> dict | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}


def quantize(source: Path, target: Path, images: Iterable[np.ndarray]) -> None:
    """Write a file whose convolutions compute in 8 bits, but for those of :func:`kept_in_float`.

    Args:
        source: of :func:`write_whole`.
        target: the file to write.
        images: (H, W, 3) uint8 RGB, whose values give the ranges.
    """
    logging.disable(logging.WARNING)  # advice to whoever calls it, which scoring answers
    onnxruntime.set_default_logger_severity(ERROR)
    try:
        quantize_static(
            source,
            target,
            _Images(iter(images)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=kept_in_float(onnx.load(source)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
        onnxruntime.set_default_logger_severity(WARNING)
    note(target, eight_bits="not measured")


def kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Names of convolutions that lose much in 8 bits and have few weights.

    They are the first one, depthwise ones, and those that predict.
    """
    convolutions = [node for node in model.graph.node if node.op_type in QUANTIZED]
    return [
        node.name
        for i, node in enumerate(convolutions)
        if i == 0
        or any(a.name == "group" and a.i > 1 for a in node.attribute)
        or any(name in node.input[1] for name in PREDICTORS)
    ]


def eight_bits_file(file: Path) -> Path:
    """Where the network of a file is in 8 bits."""
    return file.with_stem(f"{file.stem}_int8")


def split(records: list[dict]) -> tuple[list[dict], list[dict]]:
    """Those that give the ranges, from all over the dataset, and those to score.

    Raises:
        InputError: if there are fewer than four.
    """
    if len(records) < PART:
        raise InputError(
            f"{len(records)} images are too few to quantize; give a dataset of {PART} or more."
        )
    step = max(PART, -(-len(records) // CALIBRATING))
    chosen = records[::step]
    return chosen, [record for i, record in enumerate(records) if i % step]
