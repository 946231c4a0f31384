"""The files that are predicted, and where their results go."""

import glob
import os
import re
import sys
from pathlib import Path

from PIL import Image

from efficientps_d2_runtime.errors import InputError, Stopped
from efficientps_d2_runtime.images import DAMAGED, IMAGE_FORMATS, IMAGE_SUFFIXES

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"),
    *(".ts", ".mts", ".m2ts", ".3gp"),
)
WRITTEN_IMAGES = (".jpg", ".jpeg", ".png")
OTHER_OUTPUT = ", and another --output, for panoptic.json lists the results of one command"
FILE_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,4}")  # that of a folder is rather a number


def expand(patterns: list[str], others: tuple[str, ...] = ()) -> list[Path]:
    """The files that names, patterns and folders stand for, sorted within each of them.

    Args:
        patterns: what was given.
        others: suffixes that are looked for in a folder without images.

    Raises:
        InputError: if nothing fits.
    """
    files = []
    for pattern in patterns:
        pattern = os.path.expanduser(pattern)
        exists = os.path.exists(pattern)  # also a name with brackets
        found = [pattern] if exists else sorted(glob.glob(pattern, recursive=True))
        if not found:
            raise InputError(f"No file is called {pattern} or fits it; correct the path.")
        if os.path.isdir(pattern):
            found = _images_of(pattern, others)
        files += map(Path, found)
    return list(dict.fromkeys(files))


def _images_of(folder: str, others: tuple[str, ...]) -> list[str]:
    """The images of a folder; not what annotation tools and systems also leave there."""
    files = [entry.path for entry in os.scandir(folder) if entry.is_file()]
    images = sorted(f for f in files if Path(f).suffix.lower() in IMAGE_SUFFIXES)
    images = images or sorted(f for f in files if Path(f).suffix.lower() in others)
    if not images:
        below = glob.iglob(os.path.join(glob.escape(folder), "*", "**", "*.*"), recursive=True)
        for file in below:
            if Path(file).suffix.lower() in IMAGE_SUFFIXES + others and os.path.isfile(file):
                raise InputError(
                    f"{folder} holds no image, but folders in it do; give these, such as "
                    f"{os.path.dirname(file)}, or a pattern."
                )
        raise InputError(f"{folder} holds no image; give a folder with images, or their names.")
    return images


def refuse_videos(files: list[Path], cure: str) -> None:
    """Raise InputError if all files are videos, by their names; one image is enough to go on."""
    if files and all(file.suffix.lower() in VIDEO_SUFFIXES for file in files):
        raise InputError(f"{files[0]} is a video; {cure}.")


def require_display() -> None:
    """Raise InputError where no window can be opened."""
    if sys.platform == "linux" and not (os.getenv("DISPLAY") or os.getenv("WAYLAND_DISPLAY")):
        raise InputError("There is no display for a window; give --output.")


def image_targets(files: list[Path], output: Path, save_json: bool) -> dict[Path, Path]:
    """Where the drawing of each file goes.

    Args:
        files: what is predicted.
        output: a folder, or for one file also the name of its drawing.
        save_json: whether panoptic PNGs, named after the files, are written, too.

    Raises:
        InputError: if results would replace each other or an input, or ``output`` does not fit.
    """
    suffix = output.suffix.lower()
    if FILE_SUFFIX.fullmatch(suffix) and not output.is_dir():
        if len(files) > 1 or save_json:
            why = "--save-json" if save_json else f"Predicting {len(files)} inputs"
            raise InputError(f"{why} needs a folder as --output, not the file {output}.")
        if suffix not in WRITTEN_IMAGES:
            there = output.exists()
            cure = "give a folder, .jpg or .png" if there else "choose one, or make that folder"
            what = "a file that is there already" if there else ".jpg and .png can be written"
            raise InputError(f"--output {output}: {what}; {cure}.")
        targets = {files[0]: output}
    else:
        targets = {f: output / f"{f.stem}{_image_suffix(f)}" for f in files}
    names = [file.stem if save_json else target.name for file, target in targets.items()]
    alike = {}
    for file, name in zip(files, names, strict=True):
        alike.setdefault(name, []).append(file)
    if groups := [group for group in alike.values() if len(group) > 1]:
        listed = "; ".join(_named(group) for group in groups[:5])
        more = f"; and {len(groups) - 5} more such groups" if len(groups) > 5 else ""
        raise InputError(
            f"Some files would have results of the same name: {listed}{more}. Predict them into "
            "different folders."
        )
    for file, target in targets.items():
        _refuse_overwriting(file, target)
        _require_place(target, f"--output {output}")
        if save_json:
            png = output / "panoptic" / f"{file.stem}.png"
            _refuse_overwriting(file, png)
            _require_place(png, "--save-json")
    if save_json:
        _require_place(output / "panoptic.json", "--save-json")
    return targets


def _named(group: list[Path]) -> str:
    more = f" and {len(group) - 2} more" if len(group) > 2 else ""
    return f"{group[0]} and {group[1]}{more}"


def video_targets(videos: list[str], output: Path | None, save_json: bool) -> dict[str, Path]:
    """The .mp4 files that drawn videos go to, after a check that the videos are there.

    Args:
        videos: files and addresses.
        output: a folder, or for one video also the name of its drawing; None for none.
        save_json: whether panoptic PNGs, in a folder named after the video, are written, too.

    Raises:
        InputError: if a video is missing, results would replace each other or an input, or
            ``output`` does not fit.
    """
    for video in videos:
        if "://" not in video and not os.path.isfile(video):
            raise InputError(f"--video-input {video} is no file; give a video.")
        if _is_still(Path(video)):
            raise InputError(f"--video-input {video} is an image; give it without that flag.")
    if output is None:
        return {}
    suffix = output.suffix.lower()
    is_file = bool(FILE_SUFFIX.fullmatch(suffix)) and not output.is_dir()
    if is_file and (len(videos) > 1 or save_json):
        why = "--save-json" if save_json else f"Predicting {len(videos)} videos"
        raise InputError(f"{why} needs a folder as --output, not the file {output}.")
    if is_file and suffix != ".mp4":
        raise InputError(f"--output {output}: of a video .mp4 is written; name it so.")
    targets = {v: output if is_file else output / f"{Path(v).stem}.mp4" for v in videos}
    if len(set(targets.values())) < len(videos):
        raise InputError(
            "Some videos would have results of the same name; predict them into different folders."
        )
    for video, target in targets.items():
        _refuse_overwriting(Path(video), target)
        _require_place(target, f"--output {output}")
        if save_json:
            _require_place(output / "panoptic" / target.stem / "000000.png", "--save-json")
    if save_json:
        _require_place(output / "panoptic.json", "--save-json")
    return targets


def _is_still(file: Path) -> bool:
    """Whether it is an image that does not move; by its name, too: MJPEG begins as a JPEG does."""
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return not getattr(image, "is_animated", False)
    except DAMAGED:
        return False


def _image_suffix(file: Path) -> str:
    return file.suffix if file.suffix.lower() in WRITTEN_IMAGES else ".png"


def _refuse_overwriting(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise InputError(f"The result would replace {source}; give another --output.")


def _require_place(file: Path, flag: str) -> None:
    """Refuse a file to write where a folder is, or below another file."""
    if file.is_dir():
        raise InputError(
            f"{flag}: {file} is a folder where a file is needed; remove it, or give another "
            "--output."
        )
    folder = next((parent for parent in file.parents if parent.exists()), None)
    if folder and not folder.is_dir():
        raise InputError(
            f"{flag}: {folder} is a file where a folder is needed; give another --output."
        )


def stopped(
    done: int, files: list[Path], file: Path | None, output: Path, save_json: bool
) -> Stopped:
    """What to say after Ctrl-C.

    Args:
        done: how many images are written.
        files: what is predicted, in this order.
        file: the one that was not finished; None if none was begun.
        output: the folder, or the file of one drawing.
        save_json: whether panoptic.json is written, too.
    """
    if not done:
        return Stopped("no image was written yet; the same command begins again.")
    return Stopped(
        f"{done} of {len(files)} images are written to {output}, each of them whole; for the rest "
        f"give those from {file} on{OTHER_OUTPUT if save_json else ''}."
    )


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--output {folder} cannot be made ({error.strerror}); give a folder."
        ) from error
