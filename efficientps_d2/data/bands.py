"""Images of any number of bands: satellite images, depth, measurements on a grid.

They are float32 arrays (H, W, C), as their files store them; NaN is a pixel without data.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from efficientps_d2.data.lidar.projection import read_range_image
from efficientps_d2.data.lidar.scans import SCAN_SUFFIX
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.files import refuse_pipes
from efficientps_d2_runtime.images import (
    DAMAGED,
    IMAGE_FORMATS,
    open_image,
    read_rgb,
    unreadable,
)

BANDS = "BANDS"  # INPUT.FORMAT of such images
TIFF_SUFFIXES = (".tif", ".tiff")
ARRAY_SUFFIXES = (".npy", SCAN_SUFFIX)  # no other program shows these
GDAL_NODATA = 42113  # tag of a TIFF: the value of pixels without data, as text
SHOWN_SHARE = 2, 98  # percentiles of a band that are drawn black and white


def read_bands(file: str | Path) -> np.ndarray:
    """(H, W, C) float32 of an image file, whatever its values and number of bands.

    The bands of a ``.npy`` array or TIFF are its first or last axis, whichever is shorter, or the
    pages of a TIFF; those of a scan (``.bin``) are of its range image. What is infinite, or is "no
    data" by GDAL's tag, becomes NaN.

    Raises:
        InputError: if it has no such shape or type, or a package is missing.
        Exception: one of :data:`DAMAGED` if it cannot be read.
    """
    refuse_pipes(file)
    suffix = Path(file).suffix.lower()
    if suffix == SCAN_SUFFIX:
        return read_range_image(file)
    if suffix in ARRAY_SUFFIXES:
        array, no_data = np.load(file, allow_pickle=False), None
    elif suffix in TIFF_SUFFIXES:
        array, no_data = _read_tiff(file)
    else:
        array, no_data = _read_picture(file), None
    return bands_of_array(array, str(file), no_data)


def load_bands(file: str | Path, cure: str) -> np.ndarray:
    """As :func:`read_bands`, but whatever is wrong is an InputError, with this cure of damage."""
    try:
        return read_bands(file)
    except InputError:
        raise
    except DAMAGED as error:
        raise unreadable(file, error, cure) from error


def bands_of_array(
    array: np.ndarray, name: str, no_data: float | None = None, count: int | None = None
) -> np.ndarray:
    """(H, W, C) float32 of an array of numbers; see :func:`read_bands`.

    Args:
        array: (H, W), (H, W, C) or (C, H, W).
        name: of the image, for errors.
        no_data: a value that means that there is none.
        count: of the bands, if it is known: a last axis of so many has them, however long it is.

    Raises:
        InputError: for another shape or type.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} holds several arrays; store one, as numpy.save does.")
    if array.dtype.kind not in "buif":
        raise InputError(f"{name} holds values of type {array.dtype}; store numbers.")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"{name} has the shape {array.shape}; store (height, width, bands) or (bands, height, "
            "width)."
        )
    if array.shape[0] < array.shape[2] and array.shape[2] != count:
        array = np.moveaxis(array, 0, 2)
    pixels = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.kind == "f":
        pixels = np.where(np.isinf(pixels), np.float32(np.nan), pixels)
    if no_data is not None:
        pixels = np.where(array == no_data, np.float32(np.nan), pixels)
    return pixels


def _read_picture(file: str | Path) -> np.ndarray:
    """The channels of a PNG, JPEG or such, as they are stored; those of a palette are RGB."""
    image, _, has_16_bits = open_image(Path(file), IMAGE_FORMATS)
    if not has_16_bits or image.mode[0] == "I":
        return np.asarray(image.convert("RGB") if image.mode == "P" else image)
    array = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)  # Pillow keeps 8 of the 16 bits
    if array is None:
        raise InputError(f"{file} has 16 bits and cannot be read by OpenCV; save it as a TIFF.")
    with Image.open(file, formats=IMAGE_FORMATS) as image:
        if str(image.tile[0][3]).startswith("LA"):  # grey and alpha, of which OpenCV makes four
            return array[:, :, [0, -1]]
    return array[:, :, [2, 1, 0, 3][: array.shape[2]]]


def _read_tiff(file: str | Path) -> tuple[np.ndarray, float | None]:
    """The array of a TIFF, and the value that means no data."""
    import tifffile

    try:
        with _silent("tifffile"), tifffile.TiffFile(file) as tiff:
            tag = tiff.pages[0].tags.get(GDAL_NODATA)
            shapes = [series.shape for series in tiff.series]
            array = tiff.asarray()
    except (KeyError, ValueError) as error:
        if "imagecodecs" in str(error):
            raise InputError(
                f"{file} is compressed in a way that needs another package; run: pip install "
                "imagecodecs"
            ) from error
        raise
    if len(set(shapes)) < len(shapes):
        raise InputError(
            f"{file} has pages of one size but different types; store all bands in one type."
        )
    try:
        return array, float(str(tag.value).strip(" \0")) if tag else None
    except ValueError as error:
        raise InputError(
            f"{file} says that {tag.value!r} is no data ({one_line(error)}); write a number."
        ) from error


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without the log of a package, which has a line for each "no data" that is no such value."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def require_bands(image: np.ndarray, count: int, name: str) -> None:
    """Fail if an (H, W, C) image has another number of bands than a model takes.

    Raises:
        InputError: it names the image.
    """
    if image.shape[2] != count:
        raise InputError(
            f"{name} has {image.shape[2]} band{'s' * (image.shape[2] > 1)}, but the network takes "
            f"{count} (MODEL.PIXEL_MEAN); give images of these."
        )


def image_tensor(image: np.ndarray, mean: Sequence[float]) -> torch.Tensor:
    """(C, H, W) of an (H, W, C) image; pixels without data get the mean, which normalises to 0."""
    if image.dtype == np.float32:
        missing = np.isnan(image)
        if missing.any():
            image = np.where(missing, np.float32(mean), image)
    return torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1)))


def shown_bands(input_cfg) -> tuple[int, ...]:
    """The bands that drawings show as red, green and blue, from a config's ``INPUT``.

    Empty for photographs.
    """
    return tuple(input_cfg.SHOWN_BANDS) if input_cfg.FORMAT == BANDS else ()


def show(image: np.ndarray, bands: Sequence[int]) -> np.ndarray:
    """(H, W, 3) uint8 of an (H, W, C) float32 image, each band stretched by itself.

    Args:
        image: what is drawn; pixels without data become black.
        bands: of red, green and blue, counted from 0; one that the image lacks is its last.
    """
    drawn = np.zeros((*image.shape[:2], 3), dtype=np.uint8)
    for channel, band in enumerate(bands):
        values = image[:, :, min(band, image.shape[2] - 1)]
        there = np.isfinite(values)
        if not there.any():
            continue
        low, high = np.percentile(values[there], SHOWN_SHARE)
        scaled = (values - low) * (255 / max(float(high - low), 1e-12))
        drawn[:, :, channel] = np.where(there, scaled.clip(0, 255), 0).astype(np.uint8)
    return drawn


def read_shown(file: str | Path, bands: Sequence[int]) -> np.ndarray:
    """(H, W, 3) uint8 of an image file, as drawings show it.

    Args:
        file: what is read.
        bands: of :func:`shown_bands`.

    Raises:
        InputError: if it cannot be read.
    """
    return show(load_bands(file, "repair it"), bands) if bands else read_rgb(file)
