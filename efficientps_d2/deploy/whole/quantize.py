"""A whole network whose convolutions compute in 8 bits."""

import logging
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


def quantize(source: Path, target: Path, images: Iterable[np.ndarray]) -> None:
    """Write a file whose convolutions compute in 8 bits.

    Args:
        source: of :func:`write_whole`.
        target: the file to write.
        images: (H, W, 3) uint8 RGB, whose values give the ranges.
    """
    logging.disable(logging.WARNING)  # advice to whoever calls it, which scoring answers
    try:
        quantize_static(
            source,
            target,
            _Images(iter(images)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
    note_quality(target)


def eight_bits_file(file: Path) -> Path:
    """Where the network of a file is in 8 bits."""
    return file.with_stem(f"{file.stem}_int8")


def note_quality(file: Path, quality: str = "not measured") -> None:
    """Write into a file of :func:`quantize` what it was measured to lose, and seal it again."""
    model = onnx.load(file)
    properties = {p.key: p.value for p in model.metadata_props}
    properties |= {"eight_bits": quality, **checksum.METADATA}
    onnx.helper.set_model_props(model, properties)
    file.write_bytes(checksum.seal(model.SerializeToString()))


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
