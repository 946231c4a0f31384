"""Importer for CVAT's "CVAT for images 1.1": annotations.xml beside images/."""

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

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
    runs_to_mask,
)
from efficientps_d2.data.importers.source import Source
from efficientps_d2.data.text_files import load_xml
from efficientps_d2_runtime.errors import InputError


def read_cvat(source: Source, classes: Classes) -> Iterator[AnnotatedImage]:
    """The images of all XML files whose root is "annotations", in their order.

    Raises:
        InputError: if there is no such file, or one is damaged, of a video, or names an image
            that is not there.
    """
    found = False
    for file in source.with_suffix(".xml"):
        root = load_xml(source.find(file))
        if root.tag != "annotations":
            continue
        found = True
        if root.find("track") is not None:
            raise InputError(f'{file} is of a video; export it as "CVAT for images 1.1".')
        for image in source.progress(root.findall("image")):
            with source.noting_faults():
                yield _image(image, source, file)
    if not found:
        raise source.nothing_found("annotations.xml of CVAT for images")


def _image(image: Element, source: Source, file: Path) -> AnnotatedImage:
    name, subset = image.get("name", ""), image.get("subset", "")
    place = f"{file}, image {name!r},"
    folders = [file.parent / "images", file.parent / "images" / subset, file.parent]
    path = source.find(name, *folders, place=place) if name else None
    if name and not path:  # exports of a video task leave the suffix out
        path = source.find_image(name, *folders, place=place)
    if not path:
        raise InputError(
            f"{place} is not in {source.root / file.parent / 'images'}; export with images, or put "
            "it there."
        )
    size = read_size(image.get("height"), image.get("width"), place)
    check_count(image, place)
    # "tag" labels a whole image.
    shapes = [shape for shape in image if shape.tag != "tag"]
    ordered = sorted(shapes, key=lambda shape: _number(shape, "z_order", place, "0"))
    return AnnotatedImage(path, size, _regions(ordered, source, file, place), file)


def _regions(shapes: list[Element], source: Source, file: Path, place: str) -> Iterator[Region]:
    for shape in shapes:
        outline = _shape(shape, place)
        if outline is None:
            source.warn(f'shapes of type "{shape.tag}" are not read and were left out', file)
            continue
        crowd = any(
            a.get("name") == "is_crowd" and (a.text or "").strip().lower() in ("true", "1")
            for a in shape.iter("attribute")
        )
        group = shape.get("group_id", "0")
        box = shape.tag == "box" and not _number(shape, "rotation", place, "0")
        yield Region(shape.get("label", ""), outline, None if group == "0" else group, crowd, box)


def _shape(shape: Element, place: str):
    def numbers(*names: str) -> list[float]:
        return [_number(shape, name, place) for name in names]

    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";") if pair.strip()]
        return read_points(pairs, place)
    if shape.tag not in ("box", "ellipse", "mask"):
        return None
    degrees = _number(shape, "rotation", place, "0")
    if shape.tag == "box":
        xtl, ytl, xbr, ybr = numbers("xtl", "ytl", "xbr", "ybr")
        return rectangle([(xtl, ytl), (xbr, ybr)], place, degrees)
    if shape.tag == "ellipse":
        cx, cy, rx, ry = numbers("cx", "cy", "rx", "ry")
        return ellipse((cx, cy), (rx, ry), place, degrees)
    size = read_size(shape.get("height"), shape.get("width"), f"{place} mask")
    runs = shape.get("rle", "").split(",")
    (left, top), *_ = read_points([numbers("left", "top")], place).astype(int).tolist()
    # Runs go along rows here, unlike COCO's.
    return PlacedMask(runs_to_mask(runs, size, "C", f"{place} mask"), left, top)


def _number(shape: Element, name: str, place: str, default: str = "") -> float:
    try:
        number = float(shape.get(name, default))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f'{place} has a {shape.tag} whose "{name}" is {shape.get(name)!r}; give a number.'
        )
    return number
