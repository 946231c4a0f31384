"""Importer for Pascal VOC masks, as CVAT's "Segmentation mask 1.1" exports them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from panopticapi.utils import rgb2id

from .errors import InputError
from .import_painting import Classes
from .import_regions import Picture, Region, check_count, crop
from .import_source import Source, load_image, load_text

BACKGROUND = 0  # black, in both maps
BORDER = rgb2id([224, 224, 192])  # around objects in Pascal's own data: void


def read_voc(source: Source, classes: Classes) -> Iterator[Picture]:
    """One picture for each PNG in SegmentationClass, with SegmentationObject and labelmap.txt.

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
            labels[root] = _read_labels(source, root)
        objects = source.find(name, root / "SegmentationObject")
        if not objects:
            raise InputError(
                f"{file} has no counterpart in SegmentationObject, which tells the objects apart; "
                'export "Segmentation mask 1.1" again.'
            )
        image = source.find_image(name.with_suffix(""), root / "JPEGImages")
        if not image:
            raise InputError(
                f"{file} has no picture in {source.root / root / 'JPEGImages'}; put it there."
            )
        class_map, object_map = _read_colors(source.find(file)), _read_colors(objects)
        if class_map.shape != object_map.shape:
            raise InputError(f"{file} and {objects} differ in size; export them again.")
        regions = _regions(class_map, object_map, labels[root], classes, source, file)
        yield Picture(image, class_map.shape, regions, file)


def _read_labels(source: Source, root: Path) -> dict[int, str]:
    """The label of each colour, as ``rgb2id`` counts them, from "label:r,g,b:parts:actions"."""
    file = source.find("labelmap.txt", root)
    if not file:
        raise InputError(
            f"{source.root / root} has no labelmap.txt, which tells the label of each colour; "
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
        color = min(unknown)
        raise InputError(
            f"{file} has the colour {color % 256},{color // 256 % 256},{color // 256**2}, which "
            "labelmap.txt does not list; add it there."
        )
    rest = class_map.copy()
    things = []
    objects = np.unique(object_map).tolist()
    check_count(objects, str(file))  # a photo has as many colours as pixels
    for color in objects:
        mask = object_map == color
        if color in (BACKGROUND, BORDER):
            continue
        below, counts = np.unique(class_map[mask], return_counts=True)
        label = labels.get(int(below[counts.argmax()]), "")
        name, _ = classes.find(label)
        if name in classes.things:
            rest[mask] = BACKGROUND
            things.append(Region(label, crop(mask)))
    for color in sorted(set(np.unique(rest).tolist()) - {BACKGROUND, BORDER}):
        label = labels[color]
        name, _ = classes.find(label)
        if name in classes.things:
            source.warn("pixels of things outside all objects were taken as crowds", file)
        yield Region(label, crop(rest == color), crowd=True)
    yield from things
