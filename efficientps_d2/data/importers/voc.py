"""Importer for Pascal VOC masks, as CVAT's "Segmentation mask 1.1" exports them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from panopticapi.utils import rgb2id

from efficientps_d2.data.images import load_image
from efficientps_d2.data.importers.painting import Classes
from efficientps_d2.data.importers.regions import (
    AnnotatedImage,
    PlacedMask,
    Region,
    check_count,
    crop,
)
from efficientps_d2.data.importers.source import Source
from efficientps_d2.data.text_files import load_text
from efficientps_d2_runtime.errors import InputError

BACKGROUND = 0  # black, in both maps
BORDER = rgb2id([224, 224, 192])  # around objects in Pascal's own data: void


def read_voc(source: Source, classes: Classes) -> Iterator[AnnotatedImage]:
    """One image for each PNG in SegmentationClass, with SegmentationObject and labelmap.txt.

    Raises:
        InputError: if there is none, or one of the three is missing, damaged, or contradicts.
    """
    files = [f for f in source.with_suffix(".png") if "SegmentationClass" in f.parts]
    if not files:
        raise source.nothing_found("SegmentationClass/*.png")
    labels = {}
    for file in source.progress(files):
        depth = file.parts.index("SegmentationClass")
        root, name = Path(*file.parts[:depth]), Path(*file.parts[depth + 1 :])
        if root not in labels:
            labels[root] = _read_labels(source, root, classes)
        with source.noting_faults():
            yield _image(source, file, root, name, labels[root], classes)


def _image(
    source: Source, file: Path, root: Path, name: Path, labels: dict[int, str], classes: Classes
) -> AnnotatedImage:
    objects = source.find(name, root / "SegmentationObject")
    if not objects:
        raise InputError(
            f"{file} has no counterpart in SegmentationObject, which separates the objects; "
            'export "Segmentation mask 1.1" again.'
        )
    image = source.find_image(name.with_suffix(""), root / "JPEGImages")
    if not image:
        raise InputError(
            f"{file} has no image in {source.root / root / 'JPEGImages'}; put it there."
        )
    class_map, object_map = _read_colors(source.find(file)), _read_colors(objects)
    if class_map.shape != object_map.shape:
        raise InputError(f"{file} and {objects} differ in size; export them again.")
    regions = _regions(class_map, object_map, labels, classes, source, file)
    return AnnotatedImage(image, class_map.shape, regions, file)


def _read_labels(source: Source, root: Path, classes: Classes) -> dict[int, str]:
    """The label of each colour, as ``rgb2id`` counts them, from "label:r,g,b:parts:actions"."""
    file = source.find("labelmap.txt", root)
    if not file:
        raise InputError(
            f"{source.root / root} has no labelmap.txt, which has the label of each colour; "
            "write lines such as car:128,0,0:: there."
        )
    labels = {}
    for line in load_text(file).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            color = [int(value) for value in rest.partition(":")[0].split(",")]
        except ValueError:
            color = []
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise InputError(f'{file} has the line "{line}"; write LABEL:R,G,B::.')
        if labels.setdefault(rgb2id(color), name.strip()) != name.strip():
            raise InputError(f'{file} gives "{name}" the colour of another label; change it.')
    for color in (BACKGROUND, BORDER):
        if classes.find(labels.get(color, ""))[0]:
            raise InputError(
                f'{file} gives "{labels[color]}" the colour {_color(color)}, which is void; choose '
                "another colour or leave the label out of --things and --stuff."
            )
    return labels


def _read_colors(file: Path) -> np.ndarray:
    """(H, W) int32 colours, as ``rgb2id`` counts them, of a PNG with or without a palette."""
    image = load_image(file, file, ("PNG",))
    if image.mode[0] in "IF":
        raise InputError(f"{file} has 16 bits per pixel; export colours of 8 bits.")
    return rgb2id(np.asarray(image.convert("RGB")))


def _regions(
    class_map: np.ndarray,
    object_map: np.ndarray,
    labels: dict[int, str],
    classes: Classes,
    source: Source,
    file: Path,
) -> Iterator[Region]:
    """Stuff is what no object of a thing class covers; an object is what most of it is."""
    colors = set(np.unique(class_map).tolist()) - {BACKGROUND, BORDER}
    if unknown := colors - labels.keys():
        raise InputError(
            f"{file} has the colour {_color(min(unknown))}, which labelmap.txt does not list; add "
            "it there."
        )
    rest = class_map.copy()
    things = []
    for below, places in _objects(class_map, object_map, file):
        label = labels.get(below, "")
        name, _ = classes.find(label)
        if name in classes.things:
            rest[places] = BACKGROUND
            things.append(Region(label, _cut(places)))
    for color in sorted(set(np.unique(rest).tolist()) - {BACKGROUND, BORDER}):
        label = labels[color]
        name, _ = classes.find(label)
        if name in classes.things:
            source.warn("pixels of things outside all objects were taken as crowds", file)
        yield Region(label, crop(rest == color), crowd=True)
    yield from things


def _objects(
    class_map: np.ndarray, object_map: np.ndarray, file: Path
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """The commonest class colour of each object and the rows and columns of its pixels.

    Pixels are sorted once, since a mask of the image for each object takes long for a photo,
    which has as many colours as pixels.
    """
    order = np.argsort(object_map, axis=None, kind="stable")
    colors, starts = np.unique(object_map.ravel()[order], return_index=True)
    check_count(colors, str(file))
    for color, indices in zip(colors.tolist(), np.split(order, starts[1:]), strict=True):
        if color == BACKGROUND:
            continue
        below, counts = np.unique(class_map.ravel()[indices], return_counts=True)
        yield int(below[counts.argmax()]), np.unravel_index(indices, object_map.shape)


def _cut(places: tuple[np.ndarray, np.ndarray]) -> PlacedMask:
    rows, columns = places
    top, left = int(rows.min()), int(columns.min())
    pixels = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), dtype=bool)
    pixels[rows - top, columns - left] = True
    return PlacedMask(pixels, left, top)


def _color(number: int) -> str:
    return f"{number % 256},{number // 256 % 256},{number // 256**2}"
