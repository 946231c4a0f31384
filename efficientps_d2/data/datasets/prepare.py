"""From a dataset as its publisher packs it to folders in COCO's panoptic format."""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

from efficientps_d2.data.datasets.claim import JSON, claimed, digest_of_notes
from efficientps_d2.data.datasets.prepared_files import read_if_whole, segments_of, write_frame
from efficientps_d2.data.datasets.published import Frame, Published
from efficientps_d2.data.faults import raise_faults
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.errors import InputError, one_line, sentence_of
from efficientps_d2_runtime.files import replacing_file


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
    so that a preparation that was stopped goes on. Frames whose files or notes have changed are
    made again, and their split then has no JSON until it is complete.

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
    settings |= digest_of_notes(data)
    with claimed(source, dest, settings, overwrite):
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
    made = files[1].stat().st_mtime
    return all(file.is_file() and file.stat().st_ctime <= made for file in frame.sources)


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
        with replacing_file(dest / split / JSON) as partial_file:
            partial_file.write_text(json.dumps(of_split), encoding="utf-8")
    return {split: of_split["annotations"] for split, of_split in content.items()}


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
            (folder / JSON).unlink(missing_ok=True)  # it may tell other segments
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
