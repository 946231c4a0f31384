"""The files that demo.py reads and writes; predictions in COCO's panoptic format."""

import glob
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

from detectron2.data.catalog import Metadata

from efficientps_d2.data.coco_panoptic import categories_of, save_panoptic
from efficientps_d2.data.images import IMAGE_SUFFIXES
from efficientps_d2.prediction.predictor import Prediction
from efficientps_d2.utils.errors import InputError
from efficientps_d2.utils.files import replacing_file

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")  # that are written
VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".webm")  # that are not written
DESCRIPTION = "predicted by efficientps_d2"


class PanopticWriter:
    """A context that writes ``panoptic/*.png``, and at its end ``panoptic.json`` of all of them."""

    def __init__(self, folder: Path, metadata: Metadata):
        """
        Args:
            folder: made if needed.
            metadata: names, colours and dataset ids of the classes.

        Raises:
            InputError: if the folder holds a panoptic.json or panoptic/ of others, such as a truth.
        """
        self.pngs, self.json = folder / "panoptic", folder / "panoptic.json"
        if (self.json.exists() or self.pngs.exists()) and not self._is_ours():
            raise InputError(
                f"{folder} holds {self.pngs.name} or {self.json.name} that --save-json has not "
                "written; give another --output."
            )
        self.content = {
            "info": {"description": DESCRIPTION},
            "images": [],
            "annotations": [],
            "categories": categories_of(metadata),
        }

    def _is_ours(self) -> bool:
        try:
            content = json.loads(self.json.read_text(encoding="utf-8"))
            return content["info"]["description"] == DESCRIPTION
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def __enter__(self):
        make_folder(self.pngs)
        self._write_json()  # marks the folder as ours
        return self

    def add(self, file: Path, prediction: Prediction) -> None:
        """Write the PNG of the prediction of an image file."""
        height, width = prediction.panoptic_seg.shape
        image = {"id": image_id(file), "file_name": file.name, "height": height, "width": width}
        annotation = save_panoptic(
            self.pngs / f"{file.stem}.png",
            image["id"],
            prediction.panoptic_seg,
            [asdict(segment) for segment in prediction.segments],
            self.content["categories"],
        )
        self.content["images"].append(image)
        self.content["annotations"].append(annotation)

    def __exit__(self, *_):
        self._write_json()

    def _write_json(self) -> None:
        with replacing_file(self.json) as partial:
            partial.write_text(json.dumps(self.content), encoding="utf-8")


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
    suffix = output.suffix.lower()
    if suffix in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".mp4") and not output.is_dir():
        if len(files) > 1 or save_json:
            why = "--save-json" if save_json else f"Predicting {len(files)} inputs"
            raise InputError(f"{why} needs a folder as --output, not the file {output}.")
        if suffix not in PICTURE_SUFFIXES:
            raise InputError(f"--output {output}: .jpg and .png can be written; choose one.")
        targets = {files[0]: output}
    else:
        targets = {f: output / f"{f.stem}{picture_suffix(f)}" for f in files}
    names = [file.stem if save_json else target.name for file, target in targets.items()]
    for name in {name for name in names if names.count(name) > 1}:
        first, second, *_ = (file for file, n in zip(files, names, strict=True) if n == name)
        raise InputError(
            f"Several inputs are called {name}, such as {first} and {second}; predict them into "
            "different folders."
        )
    for file, target in targets.items():
        refuse_overwriting(file, target)
        if save_json:
            refuse_overwriting(file, output / "panoptic" / f"{file.stem}.png")
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
