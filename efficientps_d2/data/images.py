"""Images of datasets: as annotation tools show them, as they are stored, and resized."""

from io import BytesIO
from pathlib import Path

import numpy as np
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from PIL import Image, ImageOps

from efficientps_d2.data.bands import ARRAY_SUFFIXES, BANDS, read_bands
from efficientps_d2.utils.resizing import resize_bands
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.images import (
    DAMAGED,
    IMAGE_FORMATS,
    decode,
    open_image,
    unreadable,
)


def load_image(file: Path | BytesIO, name: str | Path, formats=IMAGE_FORMATS) -> Image.Image:
    """A fully decoded image, as it is stored, with its ``format``; TIFFs are turned upright.

    Args:
        file: what is read.
        name: names it in errors.
        formats: Pillow's names of the formats that are allowed.
    """
    return _load(file, name, formats)[0]


def read_image(file: str | Path, image_format: str) -> np.ndarray:
    """(H, W, 3) uint8 as :func:`read_rgb`, "RGB" or "BGR", or (H, W, C) float32 of "BANDS".

    Raises:
        Exception: InputError, or one of :data:`DAMAGED`.
    """
    if image_format == BANDS:
        return read_bands(file)
    if Path(file).suffix.lower() in ARRAY_SUFFIXES:
        raise InputError(f"{file} holds bands; set INPUT.FORMAT BANDS, as efficientps_bands does.")
    pixels = decode(file, str(file)).pixels
    if image_format == "RGB":
        return pixels
    return utils.convert_PIL_to_numpy(Image.fromarray(pixels), image_format)


def read_ids(file: Path, only_16_bits: bool = False) -> np.ndarray:
    """(H, W) int32 of a PNG of ids, with one channel of 8 or 16 bits.

    Raises:
        InputError: if it cannot be read, or is another kind of image.
    """
    image = load_image(file, file, ("PNG",))
    if image.mode[0] != "I" and (only_16_bits or image.mode != "L"):
        wanted = "a grey PNG of instance ids" + (" of 16 bits" if only_16_bits else "")
        raise InputError(
            f"{file} is not {wanted} but of mode {image.mode}; export or unpack it again."
        )
    return np.asarray(image).astype(np.int32)


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
        return open_image(file, formats)[:2]
    except DAMAGED as error:
        raise unreadable(name, error, cure) from error


def resize_image(image: np.ndarray, resize: T.ResizeShortestEdge) -> np.ndarray:
    """(H, W, C) uint8 or float32, resized for prediction; of narrow strips a row is left.

    First across, then down: from version 13 on Pillow chooses the order by the size, which changes
    the rounding. An exported network has this one.
    """
    transform = resize.get_transform(image)
    if not isinstance(transform, T.ResizeTransform):
        return transform.apply_image(image)
    (height, width), mode = image.shape[:2], transform.interp
    new_height, new_width = max(1, transform.new_h), max(1, transform.new_w)
    if image.dtype == np.float32:
        return resize_bands(image, (new_height, new_width))
    rows = T.ResizeTransform(height, width, height, new_width, mode)
    columns = T.ResizeTransform(height, new_width, new_height, new_width, mode)
    return columns.apply_image(rows.apply_image(image))
