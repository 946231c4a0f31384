"""Where the images of a dataset are, from its JSON, which is validated, not trusted."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from efficientps_d2.data.bands import ARRAY_SUFFIXES
from efficientps_d2.data.checks.categories import Category, is_id, read_categories
from efficientps_d2.data.checks.problems import Problem, shown
from efficientps_d2.data.coco_fields import Files, is_inside
from efficientps_d2.data.coco_panoptic import read_json
from efficientps_d2.data.datasets import register
from efficientps_d2.data.datasets.names import WITH_HOLES, published_as
from efficientps_d2.data.lidar.drawing import is_scan
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import IMAGE_SUFFIXES


class ListedImage(NamedTuple):
    """One annotated image; ``image`` and ``annotation`` are its entries in the JSON.

    ``kinds`` are the kinds of problems that concern it in the JSON as a whole, and ``has_holes``
    says whether pixels without data are normal.
    """

    image_file: str
    panoptic_file: str
    image: dict
    annotation: dict
    kinds: frozenset[str]
    stored_pixels: bool  # whether its EXIF orientation is ignored
    has_holes: bool = False


class ImageEntry(NamedTuple):
    """An image of the JSON: its entry, its path below the images, and kinds of its problems."""

    entry: dict
    file: str
    kinds: set[str]


class Location(NamedTuple):
    """The files of a dataset; ``categories`` if they are fixed by its registration."""

    name: str
    image_root: str
    panoptic_root: str
    panoptic_json: str
    image_file: Callable[[dict], str]
    categories: dict | None


class Listing(NamedTuple):
    """What the JSON says: categories by dataset id, images with usable paths, and problems."""

    location: Location
    content: dict
    categories: dict
    images: list[ListedImage]
    problems: list[Problem]


def find_dataset(name: str) -> Location:
    """Locate a dataset by its registered name, or a folder with images/, panoptic/ and JSON.

    Raises:
        InputError: if there is no such dataset, or it is not panoptic.
    """
    folder = Path(name)
    if (folder / "panoptic.json").is_file():
        title = "_".join(folder.resolve().parts[1:][-2:])
        roots = [str(folder / part) for part in ("images", "panoptic", "panoptic.json")]
        return Location(title, *roots, lambda image: image["file_name"], None)
    if name not in DatasetCatalog.list():
        register.register_dataset_folders()
    if splits := sorted(str(file.parent) for file in folder.glob("*/panoptic.json")):
        raise InputError(f"{name} holds several splits; give one: {', '.join(splits)}.")
    if name not in DatasetCatalog.list():
        if published := published_as(folder):
            raise InputError(
                f"{name} holds {published} as its publisher packs it; first run: efficientps-d2 "
                f"prepare {published} {name}"
            )
        if any((f / register.SETTINGS).is_file() for f in (folder, folder.parent)):
            raise InputError(f"{name} is not prepared completely; run its `prepare` again.")
        if folder.exists():
            raise InputError(
                f"{name} has no panoptic.json; give a folder with images/, panoptic/ and "
                "panoptic.json, or the name of a dataset."
            )
        raise InputError(register.unknown_dataset(name))
    metadata = MetadataCatalog.get(name)
    if metadata.get("panoptic_json") is None:
        raise InputError(f'"{name}" has no panoptic annotations; name a panoptic dataset.')
    cityscapes = metadata.evaluator_type == "cityscapes_panoptic_seg"
    return Location(
        name,
        metadata.image_root,
        metadata.panoptic_root,
        metadata.panoptic_json,
        register.cityscapes_image_file if cityscapes else lambda image: image["file_name"],
        _registered_categories(metadata),
    )


def usual_config(location: Location) -> str:
    """The config that fits a dataset: its own if `prepare` wrote it, one for bands of arrays."""
    root = Path(location.image_root)
    prepared = register.prepared_as(root.parent.parent)
    if prepared:
        return f"efficientps_{prepared}"
    suffixes = {file.suffix.lower() for file in root.rglob("*")}
    only_arrays = not suffixes.isdisjoint(ARRAY_SUFFIXES) and suffixes.isdisjoint(IMAGE_SUFFIXES)
    return f"efficientps_{'bands' if only_arrays else 'custom'}"


def read_listing(location: Location, stored_pixels: bool = False) -> Listing:
    """Read the JSON and find everything that is wrong in it without opening images.

    Args:
        location: the files of the dataset.
        stored_pixels: whether the ground truth was drawn on the images without their EXIF
            orientation.

    Raises:
        InputError: if the JSON cannot be read at all.
    """
    content = read_json(location.panoptic_json)
    problems: list[Problem] = []

    def report(kind: str, text: str, file: str = location.panoptic_json) -> None:
        problems.append(Problem(kind, file, text))

    if location.name.startswith("cityscapes_fine_panoptic"):
        try:
            register.check_dataset_files(location.name)
        except InputError as error:
            report("Cityscapes layout", str(error))
    categories = read_categories(content["categories"], location.categories, location.name, report)
    images = _images(content, location, report)
    annotations = _annotations(content, images, report)
    samples = _annotated_images(annotations, images, location, stored_pixels, report)
    return Listing(location, content, categories, samples, problems)


def _registered_categories(metadata) -> dict | None:
    """Categories of data that do not take them from their JSON."""
    if metadata.get("stuff_classes") is None:
        return None
    things = metadata.thing_dataset_id_to_contiguous_id
    return {
        id_: Category(metadata.stuff_classes[contiguous], id_ in things)
        for id_, contiguous in (things | metadata.stuff_dataset_id_to_contiguous_id).items()
    }


def _images(content: dict, location: Location, report: Callable) -> dict[object, ImageEntry]:
    images, stems = {}, {}
    for image in content["images"]:
        usable = isinstance(image, dict) and is_id(image.get("id")) and image.get("file_name")
        if not usable or not isinstance(image["file_name"], str):
            report("damaged image entry", f"image {shown(image)} needs an id and a file_name")
            continue
        if image["id"] in images:
            report("duplicate image id", f"several images have the id {shown(image['id'])}")
            images[image["id"]].kinds.add("duplicate image id")
            continue
        file = location.image_file(image)
        images[image["id"]] = ImageEntry(image, file, set())
        stem = Path(file).stem
        if stem in stems:
            files = f"{shown(stems[stem])} and {shown(file)}"
            text = "have one name without folder and suffix, which panoptic evaluation needs"
            report("duplicate image name", f"{files} {text} to differ")
        stems[stem] = file
    return images


def _annotations(content: dict, images: dict[object, ImageEntry], report: Callable) -> list[dict]:
    """The usable annotations of listed images."""
    annotations, seen = [], set()
    for annotation in content["annotations"]:
        entry = annotation if isinstance(annotation, dict) else {}
        file, id_ = entry.get("file_name"), entry.get("image_id")
        usable = isinstance(file, str) and file and is_id(id_)
        if not usable or not isinstance(entry.get("segments_info"), list):
            text = "needs an image_id, a file_name and a list segments_info"
            report("damaged annotation", f"annotation {shown(annotation)} {text}")
        elif id_ not in images:
            text = f"is of image {shown(id_)}, which the images do not list"
            report("annotation without image", f"{shown(file)} {text}")
        else:
            annotations.append(annotation)
            if id_ in seen:
                report("several annotations", f"{shown(file)} is not the first of {shown(id_)}")
                images[id_].kinds.add("several annotations")
            seen.add(id_)
    for id_ in [id_ for id_ in images if id_ not in seen]:
        file = shown(images[id_].file)
        report("image without annotation", f"{file}, image {shown(id_)}, is never used")
    if not content["annotations"]:
        report("no images", "there are no annotations: a dataset needs at least one image")
    return annotations


def _annotated_images(
    annotations: list[dict],
    images: dict[object, ImageEntry],
    location: Location,
    stored_pixels: bool,
    report: Callable,
) -> list[ListedImage]:
    samples = []
    image_files, panoptic_files = Files(location.image_root), Files(location.panoptic_root)
    prepared = register.prepared_as(Path(location.image_root).parent.parent)
    for annotation in annotations:
        image = images[annotation["image_id"]]
        image_file = image_files.find(image.file)
        panoptic_file = panoptic_files.find(annotation["file_name"])
        roots = (location.image_root, location.panoptic_root)
        outside = [file for file in (image_file, panoptic_file) if not is_inside(file, *roots)]
        for file in outside:
            text = "leaves the folder of the dataset and is not read: give a path inside"
            report("path outside the dataset", text, shown(file))
        if not outside:
            kinds = frozenset(image.kinds)
            files = image_file, panoptic_file
            has_holes = prepared in WITH_HOLES or is_scan(image_file)
            rest = (annotation, kinds, stored_pixels, has_holes)
            samples.append(ListedImage(*files, image.entry, *rest))
    return samples
