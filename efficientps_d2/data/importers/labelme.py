"""Importer for labelme: one JSON beside each picture."""

import base64
import binascii
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PureWindowsPath

import numpy as np

from efficientps_d2.data.checks.problems import shown
from efficientps_d2.data.images import load_image
from efficientps_d2.data.importers.files import load_json
from efficientps_d2.data.importers.painting import Classes
from efficientps_d2.data.importers.regions import (
    Picture,
    PlacedMask,
    Region,
    check_count,
    ellipse,
    read_points,
    read_size,
    rectangle,
)
from efficientps_d2.data.importers.source import Source
from efficientps_d2.utils.errors import InputError

OUTLINES = ("polygon", "rectangle", "oriented_rectangle", "circle")


def read_labelme(source: Source, classes: Classes) -> Iterator[Picture]:
    """One picture for each JSON that has a list "shapes", in the order of their names.

    Raises:
        InputError: if there is none, or one is damaged or names a picture that is not there.
    """
    found = False
    for file in source.progress(source.with_suffix(".json")):
        content = load_json(source.find(file))
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            source.warn('JSON files without a list "shapes" were left out', file)
            continue
        found = True
        check_count(content["shapes"], str(file))
        height, width = content.get("imageHeight"), content.get("imageWidth")
        size = None if height is None or width is None else read_size(height, width, str(file))
        yield Picture(
            _find_picture(source, file, content),
            size,
            _regions(content["shapes"], source, file),
            file,
        )
    if not found:
        raise source.nothing_found("labelme JSON files")


def _find_picture(source: Source, file: Path, content: dict) -> Path:
    """The picture at ``imagePath``, or else the only one of that name: folders were moved."""
    path = content.get("imagePath")
    if not isinstance(path, str) or not path:
        raise InputError(f'{file} has no "imagePath"; write the name of its picture there.')
    hint = ""
    if content.get("imageData"):
        hint = " (the pixels are in imageData, which is not read)"
    missing = InputError(
        f"{file} names the picture {shown(path)}, which is not in {source.root}; put it there"
        f"{hint}."
    )
    try:
        image = source.find(path, file.parent, place=str(file))
    except InputError as error:
        image, missing = None, error
    if image:
        return image
    namesakes = source.namesakes(PureWindowsPath(path).name)
    if len(namesakes) > 1:
        raise InputError(
            f"{file} names the picture {shown(path)}, which is not there, and {namesakes[0]} and "
            f"{namesakes[1]} both have its name; write in imagePath which one it is."
        )
    if not namesakes:
        raise missing
    source.warn("pictures are not where imagePath tells and were found by their names", file)
    return source.find(namesakes[0])


def _regions(shapes: list, source: Source, file: Path) -> Iterator[Region]:
    for i, shape in enumerate(shapes):
        place = f"{file}, shape {i + 1},"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise InputError(f"{place} has no label; draw it again.")
        group = shape.get("group_id")
        if isinstance(group, bool) or not isinstance(group, int | str | None):
            raise InputError(f"{place} has the group_id {group!r}; give a number or null.")
        kind = shape.get("shape_type") or "polygon"  # early versions had nothing else
        if kind == "mask":
            yield Region(shape["label"], _mask(shape, place), group)
        elif kind in OUTLINES:
            outline = _outline(kind, shape.get("points"), place)
            yield Region(shape["label"], outline, group, box=kind == "rectangle")
        else:
            source.warn(f'shapes of type "{kind}" have no area and were left out', file)


def _outline(kind: str, points, place: str) -> np.ndarray:
    points = read_points(points, place)
    if kind == "rectangle":
        return rectangle(points, place)
    if kind == "circle" and len(points) > 1:
        center, rim = points[:2]
        radius = np.hypot(*(rim - center))
        return ellipse(center, (radius, radius), place)
    return points


def _mask(shape: dict, place: str) -> PlacedMask:
    """The PNG in "mask", whose corner pixels are the two points."""
    points = read_points(shape.get("points"), place)
    try:
        png = base64.b64decode(shape.get("mask"), validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InputError(f"{place} has a mask that is not base64 ({error}); draw it again.") from (
            error
        )
    pixels = np.asarray(load_image(BytesIO(png), f"{place} mask", ("PNG",)).convert("L")) > 0
    if len(points) != 2:
        raise InputError(f"{place} is a mask with {len(points)} points, not two; draw it again.")
    left, top = np.rint(points.min(0)).astype(int).tolist()
    right, bottom = np.rint(points.max(0)).astype(int).tolist()
    if pixels.shape != (bottom - top + 1, right - left + 1):
        raise InputError(
            f"{place} has a mask of {pixels.shape[1]} x {pixels.shape[0]} pixels in a box of "
            f"{right - left + 1} x {bottom - top + 1}; draw it again."
        )
    return PlacedMask(pixels, left, top)
