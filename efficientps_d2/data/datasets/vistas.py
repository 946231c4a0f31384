"""Mapillary Vistas in version 1.2 (65 classes) and 2.0 (116).

The classes come from the config file of the download, in its order; the publisher's panoptic JSON
numbers them from 1. Labels that are not evaluated, such as the groups of version 2.0, are void.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from efficientps_d2.data.datasets.published import (
    VOID,
    Frame,
    Labels,
    Published,
    label_table,
    look_up,
    pair_files,
    require,
    things_of,
)
from efficientps_d2.data.images import read_ids
from efficientps_d2.data.text_files import load_json
from efficientps_d2_runtime.errors import InputError


class Version(NamedTuple):
    """A release: the names of its config, and how many labels, things and stuff that has."""

    title: str
    folder: str
    configs: tuple[str, ...]
    counts: tuple[int, int, int]


V1 = Version("Vistas v1.2", "v1.2", ("config_v1.2.json", "config.json"), (66, 37, 28))
V2 = Version("Vistas v2.0", "v2.0", ("config_v2.0.json",), (124, 70, 46))


def is_vistas(version: Version, source: Path) -> bool:
    has_config = any((source / name).is_file() for name in version.configs)
    return has_config and (source / "training").is_dir()


def open_vistas(version: Version, source: Path) -> Published:
    """The frames of a version; a release before 2.0 has no folders of versions."""
    title = version.title
    files = [source / name for name in version.configs if (source / name).is_file()]
    cure = f"give the folder that {title} was unpacked to"
    config = files[0] if files else require(source / version.configs[0], title, cure)
    labels = _read_config(config)
    flags = [(label["evaluate"], label["instances"]) for label in labels]
    counts = len(labels), flags.count((True, True)), flags.count((True, False))
    if counts != version.counts:
        found, wanted = (
            f"{n} labels, {things} things and {stuff} stuff"
            for n, things, stuff in (counts, version.counts)
        )
        raise InputError(f"{config} has {found}, but {title} has {wanted}; give that version.")
    categories = [
        {
            "id": i + 1,
            "name": label["readable"],
            "supercategory": label["name"],
            "isthing": int(label["instances"]),
            "color": label["color"],
        }
        for i, label in enumerate(labels)
        if label["evaluate"]
    ]
    index = {category["id"] - 1: i for i, category in enumerate(categories)}
    table = label_table({i: index.get(i, VOID) for i in range(len(labels))})
    splits = {}
    for split, folder in (("train", "training"), ("val", "validation")):
        root = source / folder
        inner = root / version.folder / "instances"
        instances = inner if inner.is_dir() or version is V2 else root / "instances"
        frames = pair_files(root / "images", instances, title)
        splits[split] = [frame._replace(others=(config,)) for frame in frames]
    read = partial(read_labels, table=table, is_thing=things_of(categories), title=title)
    return Published(title, categories, splits, read)


def _read_config(file: Path) -> list[dict]:
    content = load_json(file)
    labels = content.get("labels") if isinstance(content, dict) else None
    kinds = {"name": str, "readable": str, "instances": bool, "evaluate": bool, "color": list}
    fits = isinstance(labels, list) and all(
        isinstance(label, dict) and all(isinstance(label.get(k), t) for k, t in kinds.items())
        for label in labels
    )
    if not fits:
        raise InputError(
            f"{file} is no config of Vistas: its labels need {', '.join(kinds)}; unpack it again."
        )
    return labels


def read_labels(frame: Frame, table: np.ndarray, is_thing: np.ndarray, title: str) -> Labels:
    """Of 16-bit PNGs: label * 256 + number of the object from 0; there are no unlabelled groups."""
    values = read_ids(frame.ground_truth, only_16_bits=True)
    classes = look_up(values >> 8, table, frame.ground_truth, title)
    values &= 255
    values += 1
    return Labels(classes, values * is_thing[classes])
