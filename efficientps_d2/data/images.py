"""Images of users: read completely, from formats that only hold pixels, upright, in 8 bits.

Training, evaluation, prediction and the check read by the same rule: of 16 bits the upper 8 stay,
whatever the values are, so that what one image becomes does not depend on its content.
"""

import logging
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.utils.logger import log_first_n
from PIL import Image, ImageOps, UnidentifiedImageError

from efficientps_d2.utils.errors import InputError, one_line
from efficientps_d2.utils.files import refuse_pipes

# Others, such as EPS, would start programs.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
CAMERA_BITS = (8, 10, 12, 14)  # that files of 16 bits may hold
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
    return getattr(error, "strerror", None) or one_line(error)


def load_image(file: Path | BytesIO, name: str | Path, formats=IMAGE_FORMATS) -> Image.Image:
    """A fully decoded image, as it is stored, with its ``format``; TIFFs are turned upright.

    Args:
        file: what is read.
        name: names it in errors.
        formats: Pillow's names of the formats that are allowed.
    """
    return _load(file, name, formats)[0]


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
        raise _unreadable(name, error, "give another image") from error
    peak = int(image.pixels.max()) if image.has_16_bits else 0  # a black image says nothing
    if peak and (bits := bits_in_use(peak)):
        log_first_n(
            logging.WARNING,
            f"{name} has 16 bits but seems to use only {bits}; the upper 8 are read, so that it "
            f"looks dark. Multiply its values by {2 ** (16 - bits)}, unless the images of the "
            "training are stored the same way.",
            key="caller",  # once, whatever the name
        )
    return image.pixels


def bits_in_use(peak: int) -> int | None:
    """How many of 16 bits a camera has filled; None if all, as far as one can see.

    Args:
        peak: the largest value of the upper 8 bits.
    """
    return next((bits for bits in CAMERA_BITS if peak < 2 ** (bits - 8)), None)


def read_image(file: str | Path, image_format: str) -> np.ndarray:
    """(H, W, 3) uint8 as :func:`read_rgb`, "RGB" or "BGR"; raises what is in :data:`DAMAGED`."""
    pixels = decode(file, str(file)).pixels
    if image_format == "RGB":
        return pixels
    return utils.convert_PIL_to_numpy(Image.fromarray(pixels), image_format)


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
    image, orientation, has_16_bits = _open(Path(file), IMAGE_FORMATS)
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


def load_upright(file: Path | BytesIO, name: str | Path) -> tuple[Image.Image, bool]:
    """An image of 8 bits as annotation tools show it, and whether that differs from the file."""
    image, orientation = _load(file, name, IMAGE_FORMATS)
    if image.mode[0] in "IF":
        raise InputError(f"{name} has more than 8 bits per pixel; convert it to 8-bit RGB.")
    if orientation not in range(2, 9):
        return image, False
    format_ = image.format
    try:
        upright = ImageOps.exif_transpose(image)
    except (AttributeError, *DAMAGED) as error:  # it writes the other tags again
        raise InputError(
            f"{name} has damaged EXIF data ({one_line(error)}); remove them."
        ) from error
    upright.format = format_
    return upright, True


def save_upright(image: Image.Image, file: Path) -> None:
    """Save what :func:`load_upright` turned, in the format that it had."""
    # A TIFF would keep its compression, which may be one that "quality" does not fit.
    options = {"compression": "tiff_lzw"} if image.format == "TIFF" else {"quality": 95}
    image.save(file, format=image.format, **options)


def save_stored(source: str | Path, file: Path) -> None:
    """Save the stored pixels of an image, as 8-bit RGB without EXIF data, in its format."""
    with Image.open(source, formats=IMAGE_FORMATS) as image:
        format_ = image.format
    stored = Image.fromarray(decode(source, str(source), upright=False).pixels)
    stored.format = format_
    save_upright(stored, file)


def _load(
    file: Path | BytesIO,
    name: str | Path,
    formats,
    cure: str = "repair it or remove it with its annotation",
) -> tuple[Image.Image, int]:
    """An image and its EXIF orientation."""
    try:
        return _open(file, formats)[:2]
    except DAMAGED as error:
        raise _unreadable(name, error, cure) from error


def _unreadable(name: str | Path, error: Exception, cure: str) -> InputError:
    return InputError(f"{name} cannot be read as an image ({damage(error)}); {cure}.")


def _open(file: Path | BytesIO, formats) -> tuple[Image.Image, int, bool]:
    """An image, its EXIF orientation, and whether its channels have 16 bits."""
    refuse_pipes(file)
    with Image.open(file, formats=formats) as image:
        # Before load(), which forgets tiles, and turns TIFFs and forgets the tag; EXIF loads PNGs.
        has_16_bits = _has_16_bits(image)
        orientation = _orientation(image)
        image.load()
        return image, orientation, has_16_bits


def _has_16_bits(image: Image.Image) -> bool:
    """Also of RGB, which Pillow reduces to 8 bits while it decodes."""
    arguments = [tile[3] for tile in image.tile]
    layouts = [a[0] if isinstance(a, (tuple, list)) and a else a for a in arguments]
    return image.mode[0] == "I" or any(isinstance(a, str) and ";16" in a for a in layouts)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except DAMAGED:  # viewers ignore damaged tags, too
        return 1


def resize_image(image: np.ndarray, resize: T.ResizeShortestEdge) -> np.ndarray:
    """(H, W, 3) uint8, resized for prediction; of narrow strips a row or column is left."""
    transform = resize.get_transform(image)
    if isinstance(transform, T.ResizeTransform):
        transform.new_h, transform.new_w = max(1, transform.new_h), max(1, transform.new_w)
    return transform.apply_image(image)
