"""Images of users: read completely, from formats that only hold pixels, upright, in 8 bits.

Training, evaluation, prediction and the check read by the same rule: of 16 bits the upper 8 stay,
whatever the values are, so that what one image becomes does not depend on its content.
"""

import logging
import struct
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.files import refuse_pipes

logger = logging.getLogger("efficientps_d2.images")  # of the whole project's log

# Others, such as EPS, would start programs.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
CAMERA_BITS = (8, 10, 12, 14)  # that files of 16 bits may hold
JPEG_LIMIT = 65_500  # pixels of a side
ORIENTATION = 0x0112  # EXIF tag
# EXIF orientations; Pillow turns TIFFs by itself.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
BACK = {6: 8, 8: 6}  # the orientations that are not their own inverse
# What Pillow raises for damaged files.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class Decoded(NamedTuple):
    """An image of a file, and what the file says of it."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright unless asked otherwise
    stored_size: tuple[int, int]  # height and width before the image was turned upright
    mode: str  # Pillow's
    orientation: int  # of EXIF
    has_16_bits: bool  # of each channel


def damage(error: Exception) -> str:
    """What is wrong with a file, from what Pillow raised; without the path, which others name."""
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no format that is read here"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} megapixels"
    return getattr(error, "strerror", None) or one_line(error)


def read_rgb(file: str | Path, name: str = "") -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image, upright; of 16 bits the upper 8, without alpha.

    Args:
        file: what is read.
        name: names it in errors; the path by default.

    Raises:
        InputError: if it cannot be read.
    """
    name = name or str(file)
    try:
        image = decode(file, name)
    except InputError:
        raise
    except DAMAGED as error:
        raise unreadable(name, error, "give another image") from error
    peak = int(image.pixels.max()) if image.has_16_bits else 0  # a black image says nothing
    if peak and (bits := bits_in_use(peak)) and not _dark_images():
        _dark_images().append(name)
        logger.warning(
            "%s has 16 bits but seems to use only %d; the upper 8 are read, so that it looks dark. "
            "Multiply its values by %d, unless the images of the training are stored the same way.",
            *(name, bits, 2 ** (16 - bits)),
        )
    if not _stacks() and _has_pages(file):
        _stacks().append(name)
        logger.warning("%s has several pages; of such files the first page is read.", name)
    return image.pixels


@cache
def _stacks() -> list[str]:
    """The first file of several pages, as of dark images."""
    return []


def _has_pages(file: str | Path) -> bool:
    if Path(file).suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            image.seek(1)
        return True
    except DAMAGED:  # no second page, or none that can be read
        return False


def size_of(file: str | Path) -> tuple[int, int] | None:
    """Height and width that a file says it has, before it is decoded; None if it does not."""
    try:
        refuse_pipes(file)
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return image.height, image.width
    except DAMAGED:
        return None  # whoever reads it says what is wrong


@cache
def _dark_images() -> list[str]:
    """The first image that looked dark, which the others are not named after."""
    return []


def bits_in_use(peak: int) -> int | None:
    """How many of 16 bits a camera has filled; None if all, as far as one can see.

    Args:
        peak: the largest value of the upper 8 bits.
    """
    return next((bits for bits in CAMERA_BITS if peak < 2 ** (bits - 8)), None)


def decode(file: str | Path, name: str, upright: bool = True) -> Decoded:
    """The image in a file by the rule of this module.

    Args:
        file: what is read.
        name: names it in errors.
        upright: if not, the pixels are as stored, whatever the EXIF orientation.

    Raises:
        InputError: if it has 32 bits per pixel, whose range nobody knows.
        Exception: one of :data:`DAMAGED` if it cannot be read.
    """
    image, orientation, has_16_bits = open_image(Path(file), IMAGE_FORMATS)
    mode = image.mode
    if mode == "F" or (mode == "I" and image.format not in ("PNG", "PPM")):
        raise InputError(f"{name} has 32 bits per pixel; convert it to 8-bit RGB.")
    if orientation in TURNS and (image.format != "TIFF") == upright:
        image = image.transpose(
            TURNS[orientation if upright else BACK.get(orientation, orientation)]
        )
    if mode[0] == "I":  # one channel of 16 bits
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype("u1"))
    pixels = np.array(image.convert("RGB"))  # a copy, because others may write to it
    height, width = pixels.shape[:2]
    stored = (width, height) if upright and orientation in range(5, 9) else (height, width)
    return Decoded(pixels, stored, mode, orientation, has_16_bits)


def rgb_of_array(image: object, image_format: str, kinds: str = "an array") -> np.ndarray:
    """(H, W, 3) uint8 RGB of an array in "BGR" or "RGB", without a copy.

    Args:
        image: what a user gave as an image.
        image_format: of its channels.
        kinds: what could have been given, for the error.

    Raises:
        InputError: if it is no array of this shape and type.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"An image is {image!r:.80}; give {kinds} or a path (cv2.imread gives None for files "
            "that it cannot read)."
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"An image has the shape {image.shape}; give (H, W, 3).")
    if image.dtype != np.uint8:
        raise InputError(f"An image has the type {image.dtype}; give uint8.")
    return image[:, :, ::-1] if image_format == "BGR" else image


def require_format(image_format: str) -> None:
    """Raise InputError for another order of channels than "BGR" and "RGB"."""
    if image_format not in ("BGR", "RGB"):
        raise InputError(f'image_format is "{image_format}"; give "BGR" or "RGB".')


def unreadable(name: str | Path, error: Exception, cure: str) -> InputError:
    """The error of an image that Pillow could not read."""
    return InputError(f"{name} cannot be read as an image ({damage(error)}); {cure}.")


def open_image(file: Path | BytesIO, formats) -> tuple[Image.Image, int, bool]:
    """An image, its EXIF orientation, and whether its channels have 16 bits."""
    refuse_pipes(file)
    with Image.open(file, formats=formats) as image:
        # Before load(), which forgets tiles, and turns TIFFs and forgets the tag; EXIF loads PNGs.
        has_16_bits = _has_16_bits(image)
        orientation = orientation_of(image)
        image.load()
        return image, orientation, has_16_bits


def _has_16_bits(image: Image.Image) -> bool:
    """Also of RGB, which Pillow reduces to 8 bits while it decodes."""
    arguments = [tile[3] for tile in image.tile]
    layouts = [a[0] if isinstance(a, (tuple, list)) and a else a for a in arguments]
    return image.mode[0] == "I" or any(isinstance(a, str) and ";16" in a for a in layouts)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 if it has none; of a PNG it decodes the pixels."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except DAMAGED:  # viewers ignore damaged tags, too
        return 1
