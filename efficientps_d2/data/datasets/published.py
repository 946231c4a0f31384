"""What a module about a publisher's dataset says, and what several of them need to read one."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from efficientps_d2_runtime.errors import InputError

VOID, UNKNOWN = -1, -2
LARGEST_NUMBER = 2**16 - 1  # of an object, for which a panoptic PNG has room
# Of what a damaged JSON makes of the code that reads it.
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
SUFFIXES = (".png", ".jpg", ".jpeg")  # of images


class Frame(NamedTuple):
    """A labelled image.

    ``name`` differs from those of all others of its split and becomes the image id; ``notes`` are
    what the dataset says of the frame elsewhere, and ``others`` are further files that it is made
    of, which may be missing.
    """

    name: str
    image: Path
    ground_truth: Path
    notes: tuple[int, ...] = ()
    others: tuple[Path, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """All files that the frame is made of."""
        return self.image, self.ground_truth, *self.others


class Labels(NamedTuple):
    """The ground truth of an image, as integer maps of the same shape (H, W)."""

    classes: np.ndarray  # index of the category, VOID where there is none
    instances: np.ndarray  # number of the object from 1; 0 in stuff, and in groups of things


class Extra(NamedTuple):
    """A further file of each frame, in a folder of its own, for metrics of the publisher."""

    folder: str
    suffix: str
    write: Callable[[Frame, Path], None]


class Published(NamedTuple):
    """A dataset as its publisher packs it.

    Attributes:
        title: its name in sentences.
        categories: of COCO, in the order of contiguous ids.
        splits: the frames of each split.
        read: the labels of a frame; runs in other processes, so that it can be pickled.
        size: height and width that all images and labels get; None keeps theirs.
        stored_size: of images whose files do not tell their size.
        make_image: pixels (H, W, C) of a frame whose image is not a file of the publisher.
        suffix: of such images.
        extra: a further file of each frame, if there is one.
        train, test: splits that the config of the dataset names.
        notes: what a user should know of the files that were found.
    """

    title: str
    categories: list[dict]
    splits: dict[str, list[Frame]]
    read: Callable[[Frame], Labels]
    size: tuple[int, int] | None = None
    stored_size: tuple[int, int] | None = None
    make_image: Callable[[Frame], np.ndarray] | None = None
    suffix: str = ""
    extra: Extra | None = None
    train: tuple[str, ...] = ("train",)
    test: tuple[str, ...] = ("val",)
    notes: tuple[str, ...] = ()


def require(path: Path, title: str, cure: str) -> Path:
    """A path that exists.

    Raises:
        InputError: if it does not.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist, which {title} has; {cure}.")
    return path


def pair_files(images: Path, labels: Path, title: str) -> list[Frame]:
    """Frames of the PNGs in a folder of labels and the images of the same names.

    Raises:
        InputError: if a folder is missing or empty, or a file has no counterpart: an archive was
            unpacked in part.
    """
    cure = f"unpack the archives of {title} again"
    for folder in (images, labels):
        require(folder, title, cure)
    found = by_stem((f for f in images.iterdir() if f.suffix.lower() in SUFFIXES), cure)
    truths = by_stem(labels.glob("*.png"), cure)
    if not truths:
        raise InputError(f"{labels} holds no PNG; {cure}.")
    require_pairs(found, truths, images, labels, cure)
    return [Frame(stem, found[stem], file) for stem, file in truths.items()]


def by_stem(files: Iterable[Path], cure: str) -> dict[str, Path]:
    """Files by their names without suffix, sorted.

    Raises:
        InputError: if two of them have the same.
    """
    found = {}
    for file in sorted(files):
        if other := found.get(file.stem):
            raise InputError(f"{other} and {file} are one image; {cure}.")
        found[file.stem] = file
    return found


def require_pairs(a: Mapping, b: Mapping, folder_of_a: Path, folder_of_b: Path, cure: str) -> None:
    """Fail unless two dicts of files have the same keys: an archive was unpacked in part.

    Raises:
        InputError: it names a file, and the folder that lacks its counterpart.
    """
    for here, there, folder in ((b, a, folder_of_a), (a, b, folder_of_b)):
        if lacking := [key for key in here if key not in there]:
            raise InputError(
                f"{folder} has no counterpart of {here[lacking[0]]} and lacks {len(lacking)} of "
                f"{len(here)} files; {cure}."
            )


def label_table(labels: Mapping[int, int]) -> np.ndarray:
    """(N,) int16: the category of each value in a file, from a dict of those that exist."""
    table = np.full(max(labels) + 1, UNKNOWN, dtype=np.int16)
    table[list(labels)] = list(labels.values())
    return table


def look_up(values: np.ndarray, table: np.ndarray, file: Path, title: str) -> np.ndarray:
    """The categories of an array of labels.

    Args:
        values: integers of any shape.
        table: of :func:`label_table`.
        file: names them in errors.
        title: of the dataset.

    Raises:
        InputError: if a label is not in the table.
    """
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    outside = low if low < 0 else high if high >= len(table) else None
    if outside is None:
        classes = table[values]
        unknown = classes == UNKNOWN
        if not unknown.any():
            return classes
        outside = int(values[unknown][0])
    raise InputError(
        f"{file} has the label {outside}, which {title} does not have; give the data of that "
        "dataset and version, or unpack the file again."
    )


def link_or_copy(source: Path, file: Path) -> None:
    """A hard link, which stays when the download is removed; a copy where there can be none.

    Args:
        source: what is linked.
        file: a new name; what has it is removed.
    """
    file.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), file)
    except FileExistsError:
        raise
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, file)


def things_of(categories: list[dict]) -> np.ndarray:
    """(K + 1,) bool: which categories are things; the last entry, which VOID finds, is not."""
    return np.array([bool(category["isthing"]) for category in categories] + [False])
