"""Importer for labelme: one JSON beside each image."""

import base64
import binascii
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PureWindowsPath

import numpy as np

from efficientps_d2.data.checks.problems import shown
from efficientps_d2.data.images import load_image
from efficientps_d2.data.importers.painting import Classes
from efficientps_d2.data.importers.regions import (
    AnnotatedImage,
    PlacedMask,
    Region,
    check_count,
    ellipse,
    read_points,
    read_size,
    rectangle,
)
from efficientps_d2.data.importers.source import Source
from efficientps_d2.data.text_files import load_json
from efficientps_d2_runtime.errors import InputError

SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "PPM": ".ppm"} | {
    name: f".{name.lower()}" for name in ("PNG", "BMP", "GIF", "WEBP")
}
OUTLINES = ("polygon", "rectangle", "oriented_rectangle", "circle")


def read_labelme(source: Source, classes: Classes) -> Iterator[AnnotatedImage]:
    """One image for each JSON that has a list "shapes", in the order of their names.

    Raises:
        InputError: if there is none, or one is damaged or names an image that is not there.
    """
    found = False
    for file in source.progress(source.with_suffix(".json")):
        with source.noting_faults():
            content = load_json(source.find(file))
            if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
                source.warn('JSON files without a list "shapes" were left out', file)
                continue
            found = True
            yield _image(content, source, file)
    if not found:
        source.raise_faults()
        raise source.nothing_found("labelme JSON files")


def _image(content: dict, source: Source, file: Path) -> AnnotatedImage:
    check_count(content["shapes"], str(file))
    height, width = content.get("imageHeight"), content.get("imageWidth")
    size = None if height is None or width is None else read_size(height, width, str(file))
    image, data = _find_image(source, file, content)
    return AnnotatedImage(image, size, _regions(content["shapes"], source, file), file, data)


def _find_image(source: Source, file: Path, content: dict) -> tuple[Path, bytes | None]:
    """The image of a JSON, and its bytes if only the JSON holds them.

    That is the file at ``imagePath``, else the only one of that name, since folders were moved,
    else, if the JSON holds an image in ``imageData``, that of the same name as the JSON or this.
    """
    path, data = content.get("imagePath"), content.get("imageData")
    missing = InputError(f'{file} has no "imagePath"; write the name of its image there.')
    if isinstance(path, str) and path:
        image, missing = _at_path(source, file, path)
        if image:
            return image, None
    if not data:
        raise missing
    if image := source.find_image(Path(file.stem), file.parent, place=str(file)):
        source.warn("images are not at their imagePath and were found by their names", file)
        return image, None
    data = _decode(data, f"{file} has imageData", "put the image beside it")
    suffix = SUFFIXES[load_image(BytesIO(data), f"{file} imageData").format]
    source.warn("images were taken from imageData, since imagePath names no file", file)
    return source.root / file.with_suffix(suffix), data


def _at_path(source: Source, file: Path, path: str) -> tuple[Path | None, InputError | None]:
    """The image that a JSON names, or what is wrong with the name."""
    missing = InputError(
        f"{file} names the image {shown(path)}, which is not in {source.root}; put it there."
    )
    try:
        if image := source.find(path, file.parent, place=str(file)):
            return image, None
    except InputError as error:
        missing = error
    namesakes = source.namesakes(PureWindowsPath(path).name)
    if len(namesakes) > 1:
        return None, InputError(
            f"{file} names the image {shown(path)}, which is not there, and {namesakes[0]} and "
            f"{namesakes[1]} both have its name; write in imagePath which one it is."
        )
    if not namesakes:
        return None, missing
    source.warn("images are not at their imagePath and were found by their names", file)
    return source.find(namesakes[0]), None


def _decode(text: object, what: str, cure: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InputError(f"{what} that is not base64 ({error}); {cure}.") from error


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
            yield Region(shape["label"], _mask(shape, source, file, place), group)
        elif kind in OUTLINES:
            outline = _outline(kind, shape.get("points"), place)
            yield Region(shape["label"], outline, group, box=kind == "rectangle")
        else:
            source.warn(f'shapes of type "{kind}" are not read and were left out', file)


def _outline(kind: str, points, place: str) -> np.ndarray:
    points = read_points(points, place)
    if kind == "rectangle":
        return rectangle(points, place)
    if kind == "circle" and len(points) > 1:
        center, rim = points[:2]
        radius = np.hypot(*(rim - center))
        return ellipse(center, (radius, radius), place)
    return points


def _mask(shape: dict, source: Source, file: Path, place: str) -> PlacedMask:
    """The PNG in "mask", whose corner pixels are the two points."""
    points = read_points(shape.get("points"), place)
    png = _decode(shape.get("mask"), f"{place} has a mask", "draw it again")
    pixels = np.asarray(load_image(BytesIO(png), f"{place} mask", ("PNG",)).convert("L")) > 0
    if len(points) != 2:
        raise InputError(f"{place} is a mask with {len(points)} points, not two; draw it again.")
    # As labelme does: corners may be fractions, and those of a mask that was edited may not fit.
    left, top = np.rint(points.min(0)).astype(int).tolist()
    if np.abs(np.ptp(points, axis=0) + 1 - pixels.shape[::-1]).max() > 1:
        source.warn(
            "masks whose two points do not fit their size were placed by the upper left one", file
        )
    return PlacedMask(pixels, left, top)
