"""Read the two files of an image for the check: what is wrong with one becomes a problem."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from detectron2.data import detection_utils as utils
from PIL import Image

from efficientps_d2.data.bands import ARRAY_SUFFIXES, BANDS, read_bands
from efficientps_d2.data.checks.problems import Problem, shown
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import Decoded, decode

OF_BANDS = "give a --config-file with INPUT.FORMAT BANDS"
LOST = f"has 32 bits per pixel: convert it to 8-bit RGB, or {OF_BANDS}"
# What Pillow makes of an image that is not RGB but can be read as RGB.
CONVERTED_MODES = {
    "1": "black and white",
    "L": "gray in three channels",
    "LA": "gray without the alpha channel",
    "P": "the colours of its palette",
    "PA": "the colours of its palette without alpha",
    "RGBA": "the colours without the alpha channel",
    "CMYK": "colours computed without a colour profile",
    "YCbCr": "the same colours",
}


def read_annotated(
    file: str, problems: list[Problem], upright: bool = True, image_format: str = "RGB"
) -> Decoded | None:
    """An image as training reads it, or as stored; None and a problem if that is of no use.

    Args:
        file: of the image.
        problems: gets what is wrong.
        upright: whether it is turned by its EXIF orientation.
        image_format: ``INPUT.FORMAT`` of the training; bands are always as stored.
    """

    def report(kind: str, text: str) -> None:
        problems.append(Problem(kind, shown(file), text))

    if image_format == BANDS:
        return _read(file, lambda: _as_decoded(read_bands(file)), problems, array_like=True)
    if Path(file).suffix.lower() in ARRAY_SUFFIXES:
        report("image of bands", f"is an array: {OF_BANDS}")
        return None
    image = _read(file, lambda: decode(file, file, upright), problems)
    if image is None:
        return None
    if image.mode in CONVERTED_MODES:
        text = f"is of mode {image.mode}: reading gives {CONVERTED_MODES[image.mode]}"
        report("image mode that is converted", text)
    if image.has_16_bits:
        report("image of 16 bits", "has 16 bits per channel: reading keeps the upper 8")
    return image


def read_ground_truth(file: str, problems: list[Problem]) -> np.ndarray | None:
    """(H, W, 3) uint8 of a panoptic PNG; None and a problem if that is of no use."""

    def read():
        with Image.open(file) as image:
            mode, file_format = image.mode, image.format
        return mode, file_format, utils.read_image(file, format="RGB")

    found = _read(file, read, problems)
    if found is None:
        return None
    mode, file_format, pixels = found
    if mode in ("RGB", "RGBA") and file_format != "JPEG":
        return pixels
    what = "a JPEG, which changes ids" if file_format == "JPEG" else f"of mode {mode}"
    text = f"is {what}: write an RGB PNG, id = R + 256 G + 65536 B"
    problems.append(Problem("PNG of another mode", shown(file), text))
    return None


def _as_decoded(bands: np.ndarray) -> Decoded:
    return Decoded(bands, bands.shape[:2], "bands", 1, False)


def _read(file: str, read: Callable, problems: list[Problem], array_like: bool = False):
    """What ``read`` returns; None and a problem if it fails."""
    kind, text = "missing file", "does not exist, or is no file"
    if os.path.isfile(file):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, which do not name the file
                return read()
        except InputError as error:
            kind, text = "image mode that loses values", LOST
            if array_like:
                kind, text = "unusable bands", shown(str(error).removeprefix(file).strip(), 300)
        except Exception as error:  # damaged files make decoders raise anything
            what = shown(str(error)) or type(error).__name__
            kind, text = "unreadable file", f"cannot be read ({what})"
    problems.append(Problem(kind, shown(file), text))
    return None
