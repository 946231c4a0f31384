"""Importer for Datumaro 1.0: annotations/SUBSET.json beside images/SUBSET/."""

from collections.abc import Iterator
from pathlib import Path

from efficientps_d2.data.importers.painting import Classes
from efficientps_d2.data.importers.regions import (
    AnnotatedImage,
    Region,
    check_count,
    coco_runs,
    crop,
    ellipse,
    read_points,
    read_size,
    rectangle,
    runs_to_mask,
)
from efficientps_d2.data.importers.source import Source
from efficientps_d2.data.text_files import load_json
from efficientps_d2_runtime.errors import InputError


def read_datumaro(source: Source, classes: Classes) -> Iterator[AnnotatedImage]:
    """The items of all JSON files that have "categories" and "items", in their order.

    Raises:
        InputError: if there is no such file, or one is damaged or names an image that is not
            there.
    """
    found = False
    for file in source.with_suffix(".json"):
        content = load_json(source.find(file))
        if not isinstance(content, dict) or not {"categories", "items"} <= content.keys():
            source.warn('JSON files without "categories" and "items" were left out', file)
            continue
        found = True
        labels = _labels(content, file)
        if not isinstance(content["items"], list):
            raise InputError(f'{file} has no list "items"; export it again.')
        ids = set()
        for number, item in enumerate(source.progress(content["items"])):
            place = f"{file}, item {number + 1},"
            with source.noting_faults():
                if not isinstance(item, dict) or not isinstance(item.get("id"), str):
                    raise InputError(f'{place} has no "id"; export it again.')
                if item["id"] in ids:
                    raise InputError(f'{place} has the id "{item["id"]}" of another; remove one.')
                ids.add(item["id"])
                yield _image(item, labels, source, file, place)
    if not found:
        raise source.nothing_found("annotations/*.json of Datumaro")


def _labels(content: dict, file: Path) -> list[str]:
    try:
        return [str(label["name"]) for label in content["categories"]["label"]["labels"]]
    except (TypeError, KeyError) as error:
        raise InputError(f'{file} lists no labels in its "categories"; export it again.') from error


def _image(item: dict, labels: list[str], source: Source, file: Path, place: str) -> AnnotatedImage:
    image = item.get("image") or item.get("media")
    if not isinstance(image, dict):
        raise InputError(f"{place} has no image; export still images.")
    images = file.parent.parent / "images"
    folders = (images / file.stem, images)
    path = image.get("path")
    named = path and isinstance(path, str)
    found = source.find(path, *folders, place=place) if named else None
    found = found or source.find_image(item["id"], *folders, place=place)
    if not found:
        raise InputError(
            f"{place} names the image {path or item['id']!r}, which is not in "
            f"{source.root / images}; export with images, or put it there."
        )
    annotations = item.get("annotations", [])
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise InputError(f"{place} has damaged annotations; export it again.")
    check_count(annotations, place)
    sizes = {_size(a.get("rle"), place) for a in annotations if a.get("type") == "mask"}
    if image.get("size") is not None:
        sizes.add(_size(image, place))
    if len(sizes) > 1:
        raise InputError(f"{place} has masks of another size than its image; export it again.")
    try:
        ordered = sorted(annotations, key=lambda a: a.get("z_order", 0))
    except TypeError as error:
        raise InputError(f"{place} has a z_order that is no number; export it again.") from error
    size = next(iter(sizes), None)
    return AnnotatedImage(found, size, _regions(ordered, labels, source, file, place), file)


def _size(owner, place: str) -> tuple[int, int]:
    """ "size", (height, width), of an image or a mask."""
    size = owner.get("size") if isinstance(owner, dict) else None
    return read_size(*(size if isinstance(size, list) and len(size) == 2 else (None, None)), place)


def _regions(
    annotations: list[dict], labels: list[str], source: Source, file: Path, place: str
) -> Iterator[Region]:
    for annotation in annotations:
        kind, label = annotation.get("type"), annotation.get("label_id")
        shape = _shape(annotation, f"{place} {kind}")
        if shape is None:
            if kind not in ("label", "caption"):  # those are about the whole image
                source.warn(f'shapes of type "{kind}" are not read and were left out', file)
            continue
        if label is not None and not (isinstance(label, int) and 0 <= label < len(labels)):
            raise InputError(f"{place} has the label_id {label!r}, which no label has; repair it.")
        attributes = annotation.get("attributes")
        crowd = bool(attributes.get("is_crowd")) if isinstance(attributes, dict) else False
        if crowd and kind == "mask":
            # COCO's exporters mark every mask of a brush so; only the annotator's word counts.
            source.warn(
                "masks with is_crowd were taken as single objects, since exports to COCO mark all "
                'masks so; if they are crowds, export "CVAT for images 1.1"',
                file,
            )
            crowd = False
        group = annotation.get("group") or None  # 0 is none
        if group is not None and not isinstance(group, int):
            raise InputError(f"{place} has the group {group!r}; give a number.")
        name = "" if label is None else labels[label]
        yield Region(name, shape, group, crowd, box=kind == "bbox" and not _degrees(annotation))


def _shape(annotation: dict, place: str):
    kind, values = annotation.get("type"), annotation.get("points")
    if kind == "mask":
        runs = annotation["rle"].get("counts")
        runs = coco_runs(runs, place) if isinstance(runs, str) else runs
        return crop(runs_to_mask(runs, _size(annotation["rle"], place), "F", place))
    if kind == "bbox":
        box = annotation.get("bbox")
        values = values if box is None else box
    if kind not in ("polygon", "bbox", "ellipse"):
        return None
    if not isinstance(values, list):
        raise InputError(f"{place} has no list of points; export it again.")
    pairs = read_points([values[i : i + 2] for i in range(0, len(values), 2)], place)
    if kind == "polygon":
        return pairs
    if len(pairs) != 2:
        raise InputError(f"{place} has {len(pairs)} points, not two; export it again.")
    degrees = _degrees(annotation)
    if kind == "bbox":
        corner, extent = pairs
        return rectangle([corner, corner + extent], place, degrees)
    return ellipse(pairs.mean(0), (pairs[1] - pairs[0]) / 2, place, degrees)


def _degrees(annotation: dict):
    attributes = annotation.get("attributes")
    return attributes.get("rotation") if isinstance(attributes, dict) else None
