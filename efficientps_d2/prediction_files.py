"""The files that demo.py reads and writes; predictions in COCO's panoptic format."""

import glob
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

from detectron2.data.catalog import Metadata

from .errors import InputError
from .import_images import IMAGE_SUFFIXES
from .panoptic_json import categories_of, save_panoptic
from .predictor import Prediction

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")  # that are written
VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".webm")  # that are not written


class PanopticWriter:
    """A context that writes ``panoptic/*.png``, and at its end ``panoptic.json`` of all of them."""

    def __init__(self, folder: Path, metadata: Metadata):
        """
        Args:
            folder: made if needed.
            metadata: names, colours and dataset ids of the classes.
        """
        self.folder = folder
        self.content = {"images": [], "annotations": [], "categories": categories_of(metadata)}

    def __enter__(self):
        (self.folder / "panoptic").mkdir(parents=True, exist_ok=True)
        return self

    def add(self, file: Path, prediction: Prediction) -> None:
        """Write the PNG of the prediction of an image file."""
        height, width = prediction.panoptic_seg.shape
        image = {"id": image_id(file), "file_name": file.name, "height": height, "width": width}
        annotation = save_panoptic(
            self.folder / "panoptic" / f"{file.stem}.png",
            image["id"],
            prediction.panoptic_seg,
            [asdict(segment) for segment in prediction.segments],
            self.content["categories"],
        )
        self.content["images"].append(image)
        self.content["annotations"].append(annotation)

    def __exit__(self, *_):
        text = json.dumps(self.content)
        (self.folder / "panoptic.json").write_text(text, encoding="utf-8")


def image_id(file: Path) -> int | str:
    """The id that COCO, Cityscapes or an import of this project gives to an image file."""
    stem = file.stem.removesuffix("_leftImg8bit")
    return int(stem) if re.fullmatch(r"\d{12}", stem) else stem


def expand(patterns: list[str]) -> list[Path]:
    """The files that names and patterns stand for, sorted within each pattern."""
    files = []
    for pattern in patterns:
        pattern = os.path.expanduser(pattern)
        exists = os.path.exists(pattern)  # also a name with brackets
        found = [pattern] if exists else sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise InputError(f"--input {pattern}: there is no such file; correct it.")
        files += map(Path, found)
        if os.path.isdir(pattern):
            raise InputError(
                f"--input {pattern} is a folder; give '{pattern}/*' for what is in it."
            )
    return list(dict.fromkeys(files))


def picture_targets(files: list[Path], output: Path, save_json: bool) -> dict[Path, Path]:
    """Where the drawing of each file goes.

    Args:
        files: what is predicted.
        output: a folder, or for one file also the name of its drawing.
        save_json: whether panoptic PNGs, named after the files, are written, too.

    Raises:
        InputError: if results would replace each other or an input, or ``output`` does not fit.
    """
    if output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir():
        if len(files) > 1 or save_json:
            why = "--save-json" if save_json else f"Predicting {len(files)} inputs"
            raise InputError(f"{why} needs a folder as --output, not the file {output}.")
        if output.suffix.lower() not in PICTURE_SUFFIXES:
            raise InputError(f"--output {output}: .jpg and .png can be written; choose one.")
        targets = {files[0]: output}
    else:
        targets = {f: output / f"{f.stem}{picture_suffix(f)}" for f in files}
    names = [file.stem if save_json else target.name for file, target in targets.items()]
    for name in {name for name in names if names.count(name) > 1}:
        raise InputError(f"Several inputs are called {name}; predict them into different folders.")
    for file, target in targets.items():
        refuse_overwriting(file, target)
    return targets


def video_target(video: Path, output: Path) -> Path:
    """The .mp4 file that a drawn video goes to, in the folder ``output`` or called so."""
    suffix = output.suffix.lower()
    if suffix in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) and not output.is_dir():
        raise InputError(f"--output {output}: of a video .mp4 is written; name it so.")
    target = output if suffix == ".mp4" else output / f"{video.stem}.mp4"
    refuse_overwriting(video, target)
    return target


def picture_suffix(file: Path) -> str:
    return file.suffix if file.suffix.lower() in PICTURE_SUFFIXES else ".png"


def refuse_overwriting(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise InputError(f"The result would replace {source}; give another --output.")


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output {folder} cannot be made ({error.strerror}).") from error
