"""SemanticKITTI: scans of the KITTI odometry benchmark with a class and an object for each point.

A scan becomes a range image of 64 x 2048 pixels, read from the scan itself, with the labels of the
points that are seen in it.
"""

from pathlib import Path

import numpy as np

from efficientps_d2.data.datasets.published import (
    VOID,
    Extra,
    Frame,
    Labels,
    Published,
    by_stem,
    label_table,
    link_or_copy,
    look_up,
    require,
)
from efficientps_d2.data.datasets.register import EXTRAS
from efficientps_d2.data.lidar.projection import HEIGHT, WIDTH, project
from efficientps_d2.data.lidar.scans import (
    LABEL_SUFFIX,
    SCAN_SUFFIX,
    read_point_labels,
    read_scan,
    require_labels,
)
from efficientps_d2_runtime.errors import InputError

TITLE = "SemanticKITTI"
SPLITS = {
    "train": ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10"),
    "val": ("08",),
}
CURE = "unpack data_odometry_velodyne.zip and data_odometry_labels.zip into one folder again"

_CLASSES = (  # from id 1: name, thing, colour, raw ids, the first of which is written
    ("car", 1, (100, 150, 245), 10, 252),
    ("bicycle", 1, (100, 230, 245), 11),
    ("motorcycle", 1, (30, 60, 150), 15),
    ("truck", 1, (80, 30, 180), 18, 258),
    ("other-vehicle", 1, (0, 0, 255), 20, 13, 16, 256, 257, 259),
    ("person", 1, (255, 30, 30), 30, 254),
    ("bicyclist", 1, (255, 40, 200), 31, 253),
    ("motorcyclist", 1, (150, 30, 90), 32, 255),
    ("road", 0, (255, 0, 255), 40, 60),
    ("parking", 0, (255, 150, 255), 44),
    ("sidewalk", 0, (75, 0, 75), 48),
    ("other-ground", 0, (175, 0, 75), 49),
    ("building", 0, (255, 200, 0), 50),
    ("fence", 0, (255, 120, 50), 51),
    ("vegetation", 0, (0, 175, 0), 70),
    ("trunk", 0, (135, 60, 0), 71),
    ("terrain", 0, (150, 240, 80), 72),
    ("pole", 0, (255, 240, 150), 80),
    ("traffic-sign", 0, (255, 0, 0), 81),
)
_IGNORED = (0, 1, 52, 99)  # unlabeled, outlier, other structure, other object
CATEGORIES = [
    {"id": i, "name": name, "isthing": thing, "color": list(color)}
    for i, (name, thing, color, *_) in enumerate(_CLASSES, 1)
]
RAW_IDS_OF = {name: raw for name, _, _, *raw in _CLASSES}
RAW_IDS = [raw[0] for raw in RAW_IDS_OF.values()]  # of each category, for files of results
_index = {id_: i for i, raw in enumerate(RAW_IDS_OF.values()) for id_ in raw}
TABLE = label_table({**_index, **dict.fromkeys(_IGNORED, VOID)})


def sequences_of(source: Path) -> Path:
    """The folder sequences/, in ``source`` or in its folder dataset/."""
    inner = source / "dataset" / "sequences"
    return inner if inner.is_dir() else source / "sequences"


def is_semantic_kitti(source: Path) -> bool:
    return next(sequences_of(source).glob("[0-9][0-9]/velodyne"), None) is not None


def open_semantic_kitti(source: Path) -> Published:
    """The scans of sequences 00 to 10: 08 is for validation; 11 to 21 have no labels."""
    root = sequences_of(source)
    splits = {
        split: [frame for number in numbers for frame in _frames(root / number)]
        for split, numbers in SPLITS.items()
    }
    return Published(
        TITLE,
        CATEGORIES,
        splits,
        read_labels,
        stored_size=(HEIGHT, WIDTH),
        extra=Extra(EXTRAS["semantic_kitti"], LABEL_SUFFIX, link_labels),
    )


def _frames(sequence: Path) -> list[Frame]:
    scans, labels = (
        by_stem(require(sequence / name, TITLE, CURE).glob(f"*{suffix}"), CURE)
        for name, suffix in (("velodyne", SCAN_SUFFIX), ("labels", LABEL_SUFFIX))
    )
    if not scans or scans.keys() != labels.keys():
        lacking = sorted(scans.keys() ^ labels.keys())
        shown = f", for instance {lacking[0]} has only one" if lacking else ""
        raise InputError(
            f"{sequence} has {len(scans)} scans and {len(labels)} files of labels{shown}; {CURE}."
        )
    return [Frame(f"{sequence.name}_{stem}", scans[stem], labels[stem]) for stem in scans]


def read_labels(frame: Frame) -> Labels:
    """Of the points that the range image shows; things without a number are groups.

    An object has a number in its raw class: number 1 of the buses is not that of the trams.
    """
    points, values = read_scan(frame.image), read_point_labels(frame.ground_truth)
    require_labels(points, values, frame.image, frame.ground_truth)
    classes = look_up((values & 0xFFFF).astype(np.int64), TABLE, frame.ground_truth, TITLE)
    _, numbers = np.unique(values, return_inverse=True)
    numbers = np.where(values >> 16, numbers + 1, 0)
    seen = project(points).points
    return Labels(np.where(seen >= 0, classes[seen], VOID), np.where(seen >= 0, numbers[seen], 0))


def link_labels(frame: Frame, file: Path) -> None:
    """The labels of all points, for the metric of the publisher."""
    link_or_copy(frame.ground_truth, file)
