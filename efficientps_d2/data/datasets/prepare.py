"""From a dataset as its publisher packs it to folders in COCO's panoptic format.

A segment id says its category and object: ``(index of the category + 1) * 65536 + number``. So a
panoptic PNG tells its own ``segments_info``, and one that is there need not be made again.
"""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.data.datasets.published import VOID, Frame, Labels, Published, things_of
from efficientps_d2.data.faults import raise_faults
from efficientps_d2.data.images import load_upright
from efficientps_d2.data.segments import measure_segments, resize_nearest
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.coco import write_segment_ids
from efficientps_d2_runtime.errors import InputError, sentence_of
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.images import DAMAGED, size_of

SETTINGS = "prepare.json"  # marks a folder of ours
LARGEST_NUMBER = 2**16 - 1  # of an object of a class


class Job(NamedTuple):
    """A frame, the folder of its split, and the longest edge that its image may keep."""

    frame: Frame
    folder: Path
    longest_edge: int | None


def prepare(
    name: str,
    data: Published,
    source: Path,
    dest: Path,
    *,
    processes: int = 1,
    longest_edge: int | None = None,
    overwrite: bool = False,
) -> dict[str, list[dict]]:
    """Write ``dest/SPLIT/{images,panoptic,panoptic.json}``, with a progress bar.

    An image keeps its file, by a hard link where ``dest`` is on the same disk. Each file appears
    when it is whole, and the JSON of a split after its last image; what is there already is kept,
    so that a preparation that was stopped goes on.

    Args:
        name: of the dataset.
        data: its frames.
        source: where they lie.
        dest: new folder, or one of the same preparation.
        processes: that read images at the same time.
        longest_edge: larger training images are made so small; those of other splits never.
        overwrite: begin again where ``dest`` holds a preparation.

    Returns:
        The annotations of each split.

    Raises:
        InputError: if ``dest`` holds something else, or for what is wrong in the dataset; what is
            wrong with single images has a line each.
    """
    settings = {
        "dataset": name,
        "source": str(source.resolve()),
        "longest_edge": longest_edge,
    }
    _claim(source, dest, settings, overwrite)
    jobs = []
    for split, frames in data.splits.items():
        for part in ("images", "panoptic"):
            (dest / split / part).mkdir(parents=True, exist_ok=True)
        limit = longest_edge if split == "train" else None
        jobs += [Job(frame, dest / split, limit) for frame in frames]
    _require_different_names(jobs)
    results = list(map_images(partial(_prepare_frame, data), jobs, processes, "preparing"))
    raise_faults([result for result in results if isinstance(result, InputError)])
    annotations = {split: [] for split in data.splits}
    contents = {split: _content(data.categories) for split in data.splits}
    for job, (image, annotation) in zip(jobs, results, strict=True):
        contents[job.folder.name]["images"].append(image)
        annotations[job.folder.name].append(annotation)
    for split, content in contents.items():
        content["annotations"] = annotations[split]
        with replacing_file(dest / split / "panoptic.json") as partial_file:
            partial_file.write_text(json.dumps(content), encoding="utf-8")
    return annotations


def _content(categories: list[dict]) -> dict:
    return {"images": [], "annotations": [], "categories": categories}


def _claim(source: Path, dest: Path, settings: dict, overwrite: bool) -> None:
    """Make ``dest``, or check that it holds the same preparation."""
    inner, outer = (Path(os.path.realpath(folder)) for folder in (dest, source))
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise InputError(f"SOURCE {source} and DEST {dest} contain each other; give another DEST.")
    marker = dest / SETTINGS
    if dest.exists() and not dest.is_dir():
        raise InputError(f"{dest} is a file; give a folder.")
    if dest.exists() and any(dest.iterdir()):
        before = _settings(marker)
        if before is None:
            raise InputError(f"{dest} holds something else; give another DEST, or remove it.")
        if before != settings and not overwrite:
            key = next(key for key in settings if before.get(key) != settings[key])
            raise InputError(
                f"{dest} was prepared with {key} {before.get(key)}, not {settings[key]}; give "
                "another DEST, or --overwrite to begin again."
            )
        if overwrite:
            shutil.rmtree(dest)
    dest.mkdir(parents=True, exist_ok=True)
    with replacing_file(marker) as partial_file:
        partial_file.write_text(json.dumps(settings), encoding="utf-8")


def _settings(marker: Path) -> dict | None:
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _require_different_names(jobs: list[Job]) -> None:
    files = {}
    for job in jobs:
        other = files.setdefault((job.folder, job.frame.name.casefold()), job.frame.image)
        if other != job.frame.image:
            raise InputError(
                f"{other} and {job.frame.image} would have the same name {job.frame.name}; rename "
                "one with its labels."
            )


def _prepare_frame(data: Published, job: Job) -> tuple[dict, dict] | InputError:
    """The entries of an image and its annotation, after both files are there."""
    frame, folder = job.frame, job.folder
    image_file = folder / "images" / f"{frame.name}{frame.image.suffix}"
    panoptic_file = folder / "panoptic" / f"{frame.name}.png"
    try:
        ids = _read(panoptic_file) if image_file.is_file() else None
        if ids is None:
            ids = _write(data, job, image_file, panoptic_file)
    except InputError as error:
        return error
    except OSError as error:
        return InputError(sentence_of(error))
    height, width = ids.shape
    image = {"id": frame.name, "file_name": image_file.name, "height": height, "width": width}
    segments = _segments(ids, data.categories)
    return image, {
        "image_id": frame.name,
        "file_name": panoptic_file.name,
        "segments_info": segments,
    }


def _read(panoptic_file: Path) -> np.ndarray | None:
    """Segment ids that are there; None if they are not, or a power failure damaged them."""
    try:
        return read_segment_ids(str(panoptic_file))
    except DAMAGED:
        return None


def _write(data: Published, job: Job, image_file: Path, panoptic_file: Path) -> np.ndarray:
    """Write both files of a frame; returns its segment ids."""
    frame = job.frame
    size = size_of(frame.image)
    if size is None:
        raise InputError(f"{frame.image} cannot be read as an image; unpack it again.")
    ids = segment_ids(data.read(frame), data.categories, frame.ground_truth)
    if ids.shape != size:
        raise InputError(
            f"{frame.ground_truth} is {ids.shape[1]} x {ids.shape[0]} pixels, but {frame.image} is "
            f"{size[1]} x {size[0]}; unpack both from the same version."
        )
    new_size = data.size or _limited(size, job.longest_edge)
    with replacing_file(image_file) as partial_file:
        if new_size == size:
            _link(frame.image, partial_file)
        else:
            _write_resized(frame.image, partial_file, new_size)
    ids = resize_nearest(ids, new_size)
    with replacing_file(panoptic_file) as partial_file:
        write_segment_ids(partial_file, ids)
    return ids


def segment_ids(labels: Labels, categories: list[dict], file: Path) -> np.ndarray:
    """(H, W) int32 segment ids of the labels of an image.

    Raises:
        InputError: if a number of an object is too large for them, naming ``file``.
    """
    largest = int(labels.instances.max())
    if largest > LARGEST_NUMBER or labels.instances.min() < 0:
        raise InputError(
            f"{file} numbers an object {largest}, but a panoptic PNG has room for 0 to "
            f"{LARGEST_NUMBER}; number them anew in each image."
        )
    classes = labels.classes.astype(np.int32)
    numbers = np.where(things_of(categories)[classes], labels.instances, 0)
    return np.where(classes == VOID, 0, (classes + 1 << 16) | numbers).astype(np.int32)


def _segments(ids: np.ndarray, categories: list[dict]) -> list[dict]:
    """The ``segments_info`` that (H, W) segment ids tell."""
    found = measure_segments(ids)
    segments = []
    for id_, area, box in zip(*(array.tolist() for array in found), strict=True):
        if id_ == 0:
            continue
        category = categories[(id_ >> 16) - 1]
        segments.append(
            {
                "id": id_,
                "category_id": category["id"],
                "area": area,
                "bbox": box,
                "iscrowd": int(category["isthing"] and id_ & LARGEST_NUMBER == 0),
            }
        )
    return segments


def _limited(size: tuple[int, int], longest_edge: int | None) -> tuple[int, int]:
    factor = (longest_edge or max(size)) / max(size)
    return size if factor >= 1 else tuple(max(1, round(edge * factor)) for edge in size)


def _link(source: Path, file: Path) -> None:
    """A hard link, which stays when the download is removed; a copy on another disk."""
    file.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), file)
    except OSError:
        shutil.copyfile(source, file)


def _write_resized(source: Path, file: Path, size: tuple[int, int]) -> None:
    height, width = size
    image, _ = load_upright(source, source)
    image.resize((width, height), Image.Resampling.BILINEAR).save(
        file, format=image.format, quality=95, compress_level=1
    )
