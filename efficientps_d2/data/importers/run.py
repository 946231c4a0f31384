"""From images with regions to a dataset folder in COCO's panoptic format."""

import json
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2.data.checks.problems import shown
from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.data.images import load_upright, save_upright
from efficientps_d2.data.importers.bands import BandFolder
from efficientps_d2.data.importers.destination import check_destination
from efficientps_d2.data.importers.painting import Classes, paint
from efficientps_d2.data.importers.regions import AnnotatedImage
from efficientps_d2.data.importers.source import Source
from efficientps_d2.data.importers.summary import (
    ImportSummary,
    check_boxes,
    count_segments,
    warn_of_classes,
)
from efficientps_d2_runtime.coco import write_segment_ids
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.files import replacing_folder


def import_annotations(
    read: Callable[[Source, Classes], Iterator[AnnotatedImage]],
    source: str | Path,
    dest: str | Path,
    classes: Classes,
    *,
    split: float = 0.8,
    seed: int = 0,
    overwrite: bool = False,
    bands: BandFolder | None = None,
) -> ImportSummary:
    """Write ``dest/{train,val}/{images,panoptic,panoptic.json}``, completely or not at all.

    Args:
        read: an importer, such as :func:`.import_labelme.read_labelme`.
        source: folder of the annotations and images; nothing outside it is read.
        dest: folder of the dataset, which the datasets ``NAME_train`` and ``NAME_val`` are
            called after; nothing else is written but a temporary folder beside it.
        classes: what has another label becomes void.
        split: part of the images for training, chosen by ``seed``; 1 makes no ``val``.
        overwrite: replace a dataset that ``dest`` holds.
        bands: files that take the place of the annotated images.

    Raises:
        InputError: for anything that is wrong in the annotations or arguments; what is wrong with
            single images has a line each.
    """
    if not 0 < split <= 1:
        raise InputError(f"--split is {split}; give a part of the images, above 0 and up to 1.")
    try:
        folder = Source(source)
        check_destination(folder.root, Path(dest), overwrite)
        summary = ImportSummary(warnings=folder.warnings)
        with replacing_folder(Path(dest)) as new:
            samples = read(folder, classes)
            entries = _write_images(samples, new / "all", classes, folder, summary, bands)
            check_boxes(summary.shapes, classes, folder)
            for name, chosen in _choose_split(entries, split, seed).items():
                _write_split(new, name, chosen, classes)
                count_segments(summary, name, chosen, classes)
            warn_of_classes(entries, classes, folder, summary)
            if split < 1 and len(entries) == 1:
                folder.warn(
                    "no image is held out for val, since there is only one", entries[0][0]["id"]
                )
            shutil.rmtree(new / "all")
            # Again, since something may have been put there in the meantime.
            check_destination(folder.root, Path(dest), overwrite)
    except OSError as error:
        raise InputError(
            f"The import failed ({shown(one_line(error))}); check the paths, rights and free space."
        ) from error
    return summary


def _write_images(
    samples: Iterable[AnnotatedImage],
    folder: Path,
    classes: Classes,
    source: Source,
    summary: ImportSummary,
    bands: BandFolder | None,
) -> list[tuple[dict, dict]]:
    """Write images and panoptic PNGs to ``folder``; return entries for "images", "annotations"."""
    for name in ("images", "panoptic"):
        (folder / name).mkdir(parents=True)
    entries, stems, origins = [], set(), {}
    for sample in samples:
        with source.noting_faults():
            if sample.image in origins:
                raise InputError(
                    f"{sample.image} is annotated twice, in {origins[sample.image]} and in "
                    f"{sample.origin}; remove one."
                )
            origins[sample.image] = sample.origin
            if entry := _write_image(sample, folder, stems, classes, source, summary, bands):
                entries.append(entry)
    source.raise_faults()
    if not entries:
        raise InputError(
            f"{source.root} has no image with a region of a class in --things or --stuff; its "
            f"labels are {', '.join(sorted(summary.unlisted(classes))) or 'none'}."
        )
    return entries


def _write_image(
    sample: AnnotatedImage,
    folder: Path,
    stems: set[str],
    classes: Classes,
    source: Source,
    summary: ImportSummary,
    bands: BandFolder | None,
) -> tuple[dict, dict] | None:
    """The two entries of an image, None if no region of it has a class."""
    image, turned = _load_image(sample)
    size = image.height, image.width
    ids, segments = paint(sample, size, classes, source, summary.shapes)
    if not segments:
        source.warn("images without any region of a class were left out", sample.origin)
        return None
    stem = _free_stem(sample.image.relative_to(source.root), stems)
    of_bands = bands and bands.find(sample.image, source.root, size)
    file = folder / "images" / f"{stem}{(of_bands or sample.image).suffix}"
    if of_bands:
        shutil.copyfile(of_bands, file)
    elif turned:
        save_upright(image, file)
    else:
        _copy_image(sample, file)
    gt = folder / "panoptic" / f"{stem}.png"
    write_segment_ids(gt, ids)
    _check_ground_truth(gt, segments)
    return (
        {"id": stem, "file_name": file.name, "height": size[0], "width": size[1]},
        {"image_id": stem, "file_name": gt.name, "segments_info": segments},
    )


def _load_image(sample: AnnotatedImage) -> tuple[Image.Image, bool]:
    """The image upright, and whether it was turned; it must have the size that was annotated."""
    content = sample.image if sample.data is None else BytesIO(sample.data)
    image, turned = load_upright(content, sample.image)
    size = image.height, image.width
    if sample.size not in (None, size):
        raise InputError(
            f"{sample.image} is {size[1]} x {size[0]} pixels, but {sample.origin} says "
            f"{sample.size[1]} x {sample.size[0]}; put the image there that was annotated."
        )
    return image, turned


def _copy_image(sample: AnnotatedImage, file: Path) -> None:
    if sample.data is None:
        shutil.copyfile(sample.image, file)
    else:
        file.write_bytes(sample.data)


def _free_stem(image: Path, stems: set[str]) -> str:
    """The stem of an image, prefixed with its folders if another image has it."""
    folders = "_".join([*image.parent.parts, image.stem])
    with_suffix = f"{folders}_{image.suffix[1:]}"
    candidates = [image.stem, folders, with_suffix]
    candidates += [f"{with_suffix}_{i}" for i in range(2, len(stems) + 3)]
    stem = next(c for c in candidates if c.casefold() not in stems)
    stems.add(stem.casefold())
    return stem


def _check_ground_truth(file: Path, segments: list[dict]) -> None:
    """Read a panoptic PNG back: its pixels must be what the segments say."""
    counts = np.bincount(read_segment_ids(str(file)).ravel())
    areas = {int(i): int(counts[i]) for i in np.flatnonzero(counts) if i != 0}
    if areas != {s["id"]: s["area"] for s in segments}:
        raise InputError(f"{file} does not hold what was written to it; check the disk.")


def _choose_split(entries: list, split: float, seed: int) -> dict[str, list]:
    """Shuffle and cut; both parts get an image if there are two."""
    order = list(range(len(entries)))
    random.Random(seed).shuffle(order)
    count = len(order)
    if split < 1 and len(order) > 1:
        count = min(max(round(split * len(order)), 1), len(order) - 1)
    parts = {"train": sorted(order[:count]), "val": sorted(order[count:])}
    return {name: [entries[i] for i in part] for name, part in parts.items() if part}


def _write_split(partial: Path, name: str, entries: list, classes: Classes) -> None:
    for kind, number in (("images", 0), ("panoptic", 1)):
        (partial / name / kind).mkdir(parents=True)
        for entry in entries:
            file = Path(kind, entry[number]["file_name"])
            (partial / "all" / file).rename(partial / name / file)
    content = {
        "images": [image for image, _ in entries],
        "annotations": [annotation for _, annotation in entries],
        "categories": classes.categories(),
    }
    (partial / name / "panoptic.json").write_text(json.dumps(content), encoding="utf-8")
