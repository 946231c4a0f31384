"""What importers hand over: images with labelled regions, as outlines or masks."""

from collections.abc import Hashable, Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from efficientps_d2_runtime.errors import InputError

# Limits that only damaged files exceed; what pycocotools allocates grows with the length.
MAX_COORDINATE = 1e6
MAX_LENGTH = 4e6
MAX_PIXELS = 1 << 28
MAX_SHAPES = 100_000  # of one image


class PlacedMask(NamedTuple):
    """(h, w) bool ``pixels``, whose first one lies at column ``left`` and row ``top``."""

    pixels: np.ndarray
    left: int = 0
    top: int = 0


@dataclass(frozen=True)
class Region:
    """One shape of an annotation.

    Attributes:
        label: as the tool writes it.
        shape: a mask, or an outline, (N, 2) float64 x and y in pixels, where (0, 0) is the upper
            left corner of the image and (0.5, 0.5) the centre of its first pixel.
        group: regions of one label and one group are one object; None is a group for each.
        crowd: whether it covers several objects that are not separated.
        box: whether an upright box was drawn, which does not tell the pixels of an object.
    """

    label: str
    shape: PlacedMask | np.ndarray
    group: Hashable = None
    crowd: bool = False
    box: bool = False


@dataclass(frozen=True)
class AnnotatedImage:
    """One annotated image.

    Attributes:
        image: the image file.
        size: (height, width) from the annotation, None if it has none.
        regions: later ones lie over earlier ones.
        origin: the annotation file, for messages.
        data: the image itself, if the annotation holds it; ``image`` then only names it.
    """

    image: Path
    size: tuple[int, int] | None
    regions: Iterable[Region]
    origin: Path
    data: bytes | None = None


def read_size(height, width, place: str) -> tuple[int, int]:
    """(height, width) from the fields of a file."""
    try:
        size = int(height), int(width)
    except (TypeError, ValueError, OverflowError):
        size = (0, 0)
    if min(size) <= 0 or size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{place} has the size {width!r} x {height!r}; repair it or remove it.")
    return size


def check_count(shapes: Sized, place: str) -> None:
    if len(shapes) > MAX_SHAPES:
        raise InputError(
            f"{place} has {len(shapes)} shapes in one image, more than {MAX_SHAPES}; remove what "
            "a tool made by mistake."
        )


def read_points(pairs, place: str) -> np.ndarray:
    """(N, 2) float64 from a list of pairs; ``place`` names them in errors."""
    try:
        points = np.asarray(pairs, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.array(np.nan)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise InputError(f"{place} has points that are not pairs of numbers; draw it again.")
    length = np.abs(np.diff(points, axis=0, append=points[:1])).sum()
    if np.abs(points).max() > MAX_COORDINATE or length > MAX_LENGTH:
        raise InputError(f"{place} reaches far out of any image; draw it again.")
    return points


def rectangle(points, place: str, degrees=0.0) -> np.ndarray:
    """Outline of the upright rectangle around ``points``, turned clockwise about its centre."""
    points = read_points(points, place)
    if len(points) == 0:
        return points
    (left, top), (right, bottom) = points.min(0), points.max(0)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return _turn(corners, ((left + right) / 2, (top + bottom) / 2), degrees, place)


def ellipse(center, radii, place: str, degrees=0.0) -> np.ndarray:
    """Outline of an ellipse, turned clockwise; 360 corners, less than 0.04 pixel off at 1000."""
    (x, y), (rx, ry) = read_points([center, radii], place)
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    rim = np.stack([x + abs(rx) * np.cos(angles), y + abs(ry) * np.sin(angles)], axis=1)
    return _turn(rim, (x, y), degrees, place)


def _turn(points: np.ndarray, center: tuple[float, float], degrees, place: str) -> np.ndarray:
    (angle, _), *_ = np.deg2rad(read_points([(degrees or 0, 0)], place))
    if angle:
        cos, sin = np.cos(angle), np.sin(angle)
        points = (points - center) @ np.array([(cos, sin), (-sin, cos)]) + center
    return read_points(points, place)


def runs_to_mask(runs: Sequence[int], size: tuple[int, int], order: str, place: str) -> np.ndarray:
    """Decode run lengths, background first.

    Args:
        runs: lengths in pixels.
        size: (height, width) of the mask.
        order: "C" for runs along rows, "F" along columns.
        place: names the mask in errors.

    Returns:
        (height, width) bool.
    """
    try:
        lengths = np.asarray(runs, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        lengths = np.array([-1])
    pixels = size[0] * size[1]
    if lengths.ndim != 1 or (lengths < 0).any() or (lengths > pixels).any():
        raise InputError(f"{place} has run lengths that are no lengths; export it again.")
    if lengths.sum() != pixels:
        raise InputError(
            f"{place} has run lengths of {lengths.sum()} pixels for {size[1]} x {size[0]}; export "
            "it again."
        )
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(size, order=order)


def coco_runs(text: str, place: str) -> list[int]:
    """Run lengths of COCO's compressed form, which pycocotools decodes without checking them."""
    runs, value, shift = [], 0, 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 60:
            raise InputError(f"{place} has damaged run lengths; export it again.")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:  # more digits follow
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs


def crop(mask: np.ndarray) -> PlacedMask:
    """The part of an (H, W) bool mask that has pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return PlacedMask(np.zeros((0, 0), dtype=bool))
    top, left = int(rows[0]), int(columns[0])
    return PlacedMask(mask[top : rows[-1] + 1, left : columns[-1] + 1], left, top)


def raster(shape: PlacedMask | np.ndarray, size: tuple[int, int]) -> PlacedMask:
    """The pixels of a shape inside an image of ``size`` (height, width)."""
    height, width = size
    if isinstance(shape, PlacedMask):
        pixels, left, top = shape
        x, y = max(-left, 0), max(-top, 0)
        left, top = max(left, 0), max(top, 0)
        return PlacedMask(pixels[y:, x:][: max(height - top, 0), : max(width - left, 0)], left, top)
    if len(shape) < 3:
        return PlacedMask(np.zeros((0, 0), dtype=bool))
    # Only the box of the outline: an image may have thousands.
    left, top = (int(v) for v in np.maximum(np.floor(shape.min(0)), 0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(shape.max(0)) + 1, (width, height)))
    if right <= left or bottom <= top:
        return PlacedMask(np.zeros((0, 0), dtype=bool))
    corners = (shape - (left, top)).ravel().tolist()
    runs = coco_mask.frPyObjects([corners], bottom - top, right - left)
    return PlacedMask(coco_mask.decode(runs)[:, :, 0].astype(bool), left, top)
