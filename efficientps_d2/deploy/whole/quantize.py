"""A whole network whose convolutions compute in 8 bits."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from efficientps_d2_runtime import checksum
from efficientps_d2_runtime.errors import InputError

CALIBRATING, PART = 32, 4  # images, at most; and of a dataset one in so many
QUANTIZED = ("Conv",)


class _Images(CalibrationDataReader):
    def __init__(self, images: Iterator[np.ndarray]):
        self.images = images

    def get_next(self) -> dict | None:
        image = next(self.images, None)
        return None if image is None else {"image": image}


def quantize(source: Path, target: Path, images: Iterable[np.ndarray], kept: list[str]) -> None:
    """Write a file whose convolutions compute in 8 bits.

    Args:
        source: of :func:`write_whole`.
        target: the file to write.
        images: (H, W, 3) uint8 RGB, whose values give the ranges.
        kept: names of nodes that stay in float32.
    """
    quantize_static(
        source,
        target,
        _Images(iter(images)),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTIZED),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
    )
    model = onnx.load(target)
    content = model.SerializeToString()
    target.write_bytes(checksum.seal(content))


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
