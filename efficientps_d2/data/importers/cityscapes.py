"""Importer for the layout of Cityscapes, as the dataset and CVAT's "Cityscapes 1.0" have it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels as cityscapes_labels

from efficientps_d2.data.images import read_ids
from efficientps_d2.data.importers.painting import Classes
from efficientps_d2.data.importers.regions import AnnotatedImage, Region, crop
from efficientps_d2.data.importers.source import Source
from efficientps_d2.data.text_files import load_text
from efficientps_d2_runtime.errors import InputError

GROUND_TRUTH = "_gtFine_instanceIds.png"


def read_cityscapes(source: Source, classes: Classes) -> Iterator[AnnotatedImage]:
    """One image for each ``*_gtFine_instanceIds.png`` in gtFine, with that in leftImg8bit.

    Labels follow label_colors.txt if there is one beside gtFine or in the root, otherwise they are
    those of Cityscapes.

    Raises:
        InputError: if there is no such file, or one is damaged, has an unknown label or no image.
    """
    files = [f for f in source.files if f.name.endswith(GROUND_TRUTH)]
    if not files:
        raise source.nothing_found(f"*{GROUND_TRUTH}")
    labels = {}
    for file in source.progress(files):
        parts = file.parts
        depth = parts.index("gtFine") if "gtFine" in parts else len(parts) - 1
        above, below = Path(*parts[:depth]), Path(*parts[depth + 1 : -1])
        if above not in labels:
            labels[above] = _read_labels(source, above)
        folders = [above / images / below for images in ("leftImg8bit", "imgsFine/leftImg8bit")]
        with source.noting_faults():
            yield _image(source, file, folders, labels[above])


def _image(
    source: Source, file: Path, folders: list[Path], labels: dict[int, str]
) -> AnnotatedImage:
    stem = file.name.removesuffix(GROUND_TRUTH) + "_leftImg8bit"
    image = source.find_image(stem, *folders, file.parent)
    if not image:
        raise InputError(
            f"{file} has no image {stem}.png in {source.root / folders[0]}; put it there."
        )
    ids = read_ids(source.find(file))
    return AnnotatedImage(image, ids.shape, _regions(ids, labels, file), file)


def _read_labels(source: Source, folder: Path) -> dict[int, str]:
    """The name of each label id, by the table in a folder or else in the root."""
    names = ("label_colors.txt", "label_color.txt")
    file = next(filter(None, (source.find(n, f) for f in (folder, Path()) for n in names)), None)
    if not file:
        source.warn(
            "without a label_colors.txt, ids were read as those of Cityscapes' own labels",
            folder / "gtFine",
        )
        return {label.id: label.name for label in cityscapes_labels if label.id >= 0}
    names, has_background = [], False
    for line in load_text(file).splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        has_color = len(words) > 3 and all(word.isdigit() for word in words[:3])
        names.append(" ".join(words[3:] if has_color else words))
        has_background |= words[:3] == ["0", "0", "0"] or names[-1] == "background"
    if not names:
        raise InputError(f"{file} lists no labels; write lines such as 128 0 0 car there.")
    # Ids are line numbers; a background that is not listed has the first.
    return dict(enumerate(names if has_background else ["background", *names]))


def _regions(ids: np.ndarray, labels: dict[int, str], file: Path) -> Iterator[Region]:
    """Objects have the id label * 1000 + number; stuff and groups have their bare label."""
    for id_ in np.unique(ids).tolist():
        label = id_ // 1000 if id_ >= 1000 else id_
        if label not in labels:
            raise InputError(
                f"{file} has the label id {label}, which is not in the table of labels; export it "
                "with label_colors.txt."
            )
        yield Region(labels[label], crop(ids == id_), crowd=id_ < 1000)
