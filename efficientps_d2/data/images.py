"""Images of users: read completely, from formats that only hold pixels, and upright."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from efficientps_d2.utils.errors import InputError, one_line

# Others, such as EPS, would start programs.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
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
    """(H, W, 3) uint8 RGB of a picture, upright; of 16 bits the upper 8, without alpha.

    Args:
        file: what is read.
        name: names it in errors; the path by default.

    Raises:
        InputError: if it cannot be read.
    """
    name = name or str(file)
    image, orientation = _load(Path(file), name, IMAGE_FORMATS, "give another picture")
    if image.format != "TIFF" and orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise InputError(f"{name} has 32 bits per pixel; convert it to 8-bit RGB.")
    if image.mode[0] == "I":  # one channel of 16 bits
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype("u1"))
    return np.array(image.convert("RGB"))  # a copy, because others may write to it


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


def _load(
    file: Path | BytesIO,
    name: str | Path,
    formats,
    cure: str = "repair it or remove it with its annotation",
) -> tuple[Image.Image, int]:
    """An image and its EXIF orientation."""
    try:
        with Image.open(file, formats=formats) as image:
            # Before load(), which turns TIFFs and then forgets the tag.
            orientation = _orientation(image)
            image.load()
            return image, orientation
    except DAMAGED as error:
        raise InputError(f"{name} cannot be read as an image ({damage(error)}); {cure}.") from error


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except DAMAGED:  # viewers ignore damaged tags, too
        return 1
