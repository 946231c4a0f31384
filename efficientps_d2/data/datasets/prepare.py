"""From a dataset as its publisher packs it to folders in COCO's panoptic format."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from efficientps_d2.data.datasets.prepared_files import read_if_whole, segments_of, write_frame
from efficientps_d2.data.datasets.published import Frame, Published
from efficientps_d2.data.datasets.register import EXTRAS, SETTINGS, read_settings
from efficientps_d2.data.faults import raise_faults
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.errors import InputError, one_line, sentence_of
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.locks import CAN_LOCK, HeldError, lock

LOCK = ".prepare.lock"
PARTS = {"images", "panoptic", "panoptic.json", *EXTRAS.values()}  # of a split


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
    if longest_edge and (data.size or data.stored_size or data.make_image):
        raise InputError(f"--longest-edge is not for {data.title}, whose images have one size.")
    settings = {"dataset": name, "source": str(source.resolve()), "longest_edge": longest_edge}
    with _claimed(source, dest, settings, overwrite):
        jobs = _jobs(data, dest, longest_edge)
        # Each process gets the data with each image: not the frames of all.
        work = partial(_prepare_frame, data._replace(splits={}))
        results = list(map_images(work, jobs, processes, "preparing"))
        raise_faults([result for result in results if isinstance(result, InputError)])
        return _write_json(data, dest, jobs, results)


def _is_made(frame: Frame, files: list[Path]) -> bool:
    """Whether all files of a frame are there, and newer than what they were made from.

    The PNG, which is written last, tells the time; a link changes the source a moment before.
    """
    if not all(file.is_file() and file.stat().st_size for file in files):
        return False
    sources = (frame.image.stat(), frame.ground_truth.stat())
    return max(source.st_ctime for source in sources) <= files[1].stat().st_mtime


def _jobs(data: Published, dest: Path, longest_edge: int | None) -> list[Job]:
    """The work on each frame, after its folders are made."""
    jobs, files = [], {}
    for split, frames in data.splits.items():
        for part in ("images", "panoptic", *([data.extra.folder] if data.extra else [])):
            (dest / split / part).mkdir(parents=True, exist_ok=True)
        limit = longest_edge if split in data.train else None
        jobs += [Job(frame, dest / split, limit) for frame in frames]
    for job in jobs:
        key = job.folder, job.frame.name.casefold()
        if other := files.get(key):
            raise InputError(
                f"{other} and {job.frame.image} would have the same name {job.frame.name}; rename "
                "one with its labels."
            )
        files[key] = job.frame.image
    return jobs


def _write_json(
    data: Published, dest: Path, jobs: list[Job], results: list[tuple[dict, dict]]
) -> dict[str, list[dict]]:
    """Write the JSON of each split; returns their annotations."""
    content = {
        split: {"images": [], "annotations": [], "categories": data.categories}
        for split in data.splits
    }
    for job, (image, annotation) in zip(jobs, results, strict=True):
        content[job.folder.name]["images"].append(image)
        content[job.folder.name]["annotations"].append(annotation)
    for split, of_split in content.items():
        with replacing_file(dest / split / "panoptic.json") as partial_file:
            partial_file.write_text(json.dumps(of_split), encoding="utf-8")
    return {split: of_split["annotations"] for split, of_split in content.items()}


@contextlib.contextmanager
def _claimed(source: Path, dest: Path, settings: dict, overwrite: bool) -> Iterator[None]:
    """Make ``dest``, or check that it holds the same preparation; no other command may work there.

    Raises:
        InputError: if it holds something else, or another command writes it.
    """
    inner, outer = (Path(os.path.realpath(folder)) for folder in (dest, source))
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise InputError(f"SOURCE {source} and DEST {dest} contain each other; give another DEST.")
    if dest.exists() and not dest.is_dir():
        raise InputError(f"{dest} is a file; give a folder.")
    if dest.exists() and any(dest.iterdir()):
        _require_same(dest, settings, overwrite)
    dest.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if CAN_LOCK:
            try:
                stack.enter_context(lock(dest / LOCK))
            except HeldError as error:
                raise InputError(
                    f"{dest} is being prepared by process {error.holder}; wait for it or stop it."
                ) from error
            except OSError:  # a file system without locks
                pass
        if overwrite:
            _remove_splits(dest)
        with replacing_file(dest / SETTINGS) as partial_file:
            partial_file.write_text(json.dumps(settings), encoding="utf-8")
        yield


def _require_same(dest: Path, settings: dict, overwrite: bool) -> None:
    before = read_settings(dest)
    if before.keys() != settings.keys():
        raise InputError(f"{dest} holds something else; give another DEST, or remove it.")
    if before == settings or overwrite:
        return
    key = next(key for key in settings if before[key] != settings[key])
    raise InputError(
        f"{dest} was prepared with {key} {before[key]}, not {settings[key]}; give another "
        "DEST, or --overwrite to begin again."
    )


def _remove_splits(dest: Path) -> None:
    """Remove what an earlier preparation wrote, and nothing else.

    Raises:
        InputError: if a folder holds more.
    """
    splits = [entry for entry in dest.iterdir() if entry.is_dir()]
    for split in splits:
        if others := sorted({entry.name for entry in split.iterdir()} - PARTS):
            raise InputError(
                f"{split} holds {others[0]}, which `prepare` has not written; give another DEST."
            )
    for split in splits:
        shutil.rmtree(split)


def _prepare_frame(data: Published, job: Job) -> tuple[dict, dict] | InputError:
    """The entries of an image and its annotation, after both files are there."""
    frame, folder = job.frame, job.folder
    image_file = folder / "images" / f"{frame.name}{data.suffix or frame.image.suffix}"
    panoptic_file = folder / "panoptic" / f"{frame.name}.png"
    files = [image_file, panoptic_file]
    if data.extra:
        files.append(folder / data.extra.folder / f"{frame.name}{data.extra.suffix}")
    try:
        ids = read_if_whole(panoptic_file) if _is_made(frame, files) else None
        if ids is None:
            ids = write_frame(data, frame, image_file, panoptic_file, job.longest_edge)
    except InputError as error:
        return error
    except OSError as error:
        return InputError(sentence_of(error))
    except Exception as error:  # damaged files make decoders raise anything
        what = f"{type(error).__name__}: {one_line(error)}"
        return InputError(
            f"{frame.ground_truth} or {frame.image} cannot be used ({what}); unpack them again."
        )
    height, width = ids.shape
    image = {"id": frame.name, "file_name": image_file.name, "height": height, "width": width}
    segments = segments_of(ids, data.categories)
    return image, {
        "image_id": frame.name,
        "file_name": panoptic_file.name,
        "segments_info": segments,
    }


