"""A repaired copy of a panoptic dataset: whatever can be repaired without a decision."""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from panopticapi.utils import rgb2id

from efficientps_d2.data.checks.dataset import CheckResult
from efficientps_d2.data.checks.listing import ListedImage, Listing, Location
from efficientps_d2.data.checks.problems import KINDS, Problem, Repair
from efficientps_d2.data.checks.reading import read_ground_truth
from efficientps_d2.data.images import save_stored
from efficientps_d2.data.segments import measure_segments
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.coco import write_segment_ids
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_folder


class Job(NamedTuple):
    """An image, and the names of its files in the copy, below images/ and panoptic/."""

    sample: ListedImage
    image_name: str
    panoptic_name: str
    repair: bool
    drop_orientation: bool


class Repairs(NamedTuple):
    """How many images a copy holds, and what it does not settle."""

    images: int
    repaired: int
    left_out: list[Problem]
    by_hand: list[Problem]


def write_repaired(
    listing: Listing, result: CheckResult, dest: Path, processes: int = 1
) -> Repairs:
    """Write a folder with images/, panoptic/ and panoptic.json; the source stays untouched.

    Images without usable files are left out. Images with problems that need a decision, such as
    an unknown category, are copied as they are.

    Raises:
        InputError: if ``dest`` exists or lies in the dataset.
    """
    require_new_folder(dest, listing.location)
    jobs = _jobs(listing, result)
    with replacing_folder(dest) as temporary:
        for part in ("images", "panoptic"):
            (temporary / part).mkdir(parents=True)
        write = partial(_write_image, categories=listing.categories, folder=temporary)
        written = list(map_images(write, jobs, processes, "repairing"))
        content = {
            **listing.content,
            "images": [image for image, _ in written],
            "annotations": [annotation for _, annotation in written],
        }
        (temporary / "panoptic.json").write_text(json.dumps(content), encoding="utf-8")
    kinds = [KINDS[problem.kind].repair for problem in result.problems]
    left_out = [p for p, k in zip(result.problems, kinds, strict=True) if k == Repair.LEFT_OUT]
    by_hand = [p for p, k in zip(result.problems, kinds, strict=True) if k == Repair.BY_HAND]
    return Repairs(len(jobs), sum(job.repair for job in jobs), left_out, by_hand)


def require_new_folder(dest: Path, location: Location) -> None:
    """Fail if a copy cannot be written to ``dest``: it exists, or lies in the dataset."""
    if dest.exists() or dest.is_symlink():
        raise InputError(f"--fix: {dest} exists already; remove it, or give another folder.")
    for root in (location.image_root, location.panoptic_root, Path(location.panoptic_json).parent):
        if dest.resolve().is_relative_to(Path(root).resolve()):
            raise InputError(f"--fix: {dest} lies in the dataset itself; give a folder outside.")


def _jobs(listing: Listing, result: CheckResult) -> list[Job]:
    location, jobs = listing.location, []
    images, gts = set(), set()  # names in use
    for sample, kinds in zip(listing.images, result.kinds, strict=True):
        repairs = {KINDS[kind].repair for kind in kinds} - {Repair.COPIED}
        if Repair.LEFT_OUT in repairs:
            continue
        image_name = _free_name(sample.image_file, location.image_root, images)
        panoptic_name = _free_name(sample.panoptic_file, location.panoptic_root, gts)
        repair = bool(repairs) and Repair.BY_HAND not in repairs
        jobs.append(Job(sample, image_name, panoptic_name, repair, Repair.STORED in repairs))
    return jobs


def _free_name(path: str, root: str, taken: set[str]) -> str:
    """The path below ``root``, with a stem that is not in ``taken`` yet, and is then."""
    # ".." leads to a folder beside that of the images, in the dataset.
    parts = [part for part in Path(os.path.relpath(path, root)).parts if part != os.pardir]
    name = os.path.join(*parts)
    stem, suffix = os.path.splitext(name)
    count = 1
    while Path(name).stem in taken:
        count += 1
        name = f"{stem}.{count}{suffix}"
    taken.add(Path(name).stem)
    return name


def _write_image(job: Job, categories: dict, folder: Path) -> tuple[dict, dict]:
    """Write both files of an image; returns its image entry and its annotation."""
    image_file = folder / "images" / job.image_name
    panoptic_file = folder / "panoptic" / job.panoptic_name
    for file in (image_file, panoptic_file):
        file.parent.mkdir(parents=True, exist_ok=True)
    if job.drop_orientation:
        save_stored(job.sample.image_file, image_file)
    else:
        shutil.copyfile(job.sample.image_file, image_file)
    image = {**job.sample.image, "file_name": job.image_name}
    annotation = {**job.sample.annotation, "file_name": job.panoptic_name}
    if not job.repair:
        shutil.copyfile(job.sample.panoptic_file, panoptic_file)
        return image, annotation
    pan_seg = rgb2id(read_ground_truth(job.sample.panoptic_file, []))
    image["height"], image["width"] = pan_seg.shape
    segments = annotation["segments_info"]
    pan_seg, annotation["segments_info"] = repair_segments(pan_seg, segments, categories)
    write_segment_ids(panoptic_file, pan_seg)
    return image, annotation


def repair_segments(
    pan_seg: np.ndarray, segments: list[dict], categories: dict
) -> tuple[np.ndarray, list[dict]]:
    """Merge stuff, drop empty segments, make unlisted ids void, compute areas and boxes.

    Args:
        pan_seg: (H, W) integer segment ids; not changed.
        segments: of the JSON, with ids that differ and known categories; not changed.
        categories: :class:`Category` by dataset id.

    Returns:
        The new map and segments.
    """
    found = measure_segments(pan_seg)
    new_ids, kept, stuff = {0: 0}, {}, {}
    for segment in segments:
        id_, category = segment["id"], segment["category_id"]
        new_ids[id_] = id_ if categories[category].isthing else stuff.setdefault(category, id_)
        if new_ids[id_] == id_:
            kept[id_] = segment
    table = np.array([new_ids.get(id_, 0) for id_ in found.ids.tolist()], dtype=np.int64)
    pan_seg = table[np.searchsorted(found.ids, pan_seg)]
    found = measure_segments(pan_seg)
    return pan_seg, [
        {
            **kept[id_],
            "area": area,
            "bbox": box,
            "iscrowd": int(kept[id_].get("iscrowd") or 0),
        }
        for id_, area, box in zip(
            found.ids.tolist(), found.areas.tolist(), found.boxes.tolist(), strict=True
        )
        if id_ != 0
    ]
