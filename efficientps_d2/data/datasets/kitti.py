"""KITTI with the 19 classes of Cityscapes: the semantics benchmark, or the panoptic dataset.

``data_semantics.zip`` of cvlibs.net has 200 labelled images and no split: every fifth is taken for
validation. "KITTI panoptic" of the authors of EfficientPS (panoptic.cs.uni-freiburg.de) comes with
``training`` and ``validation``. Their labels are those of Cityscapes, stored in two ways.
"""

from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES

from efficientps_d2.data.coco_panoptic import read_segment_ids
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
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import DAMAGED, unreadable

TITLE = "KITTI"
VALIDATION_STEP = 5  # of the benchmark, each so many-th image is for validation

CATEGORIES = [{k: c[k] for k in ("id", "name", "isthing", "color")} for c in CITYSCAPES_CATEGORIES]
IS_THING = things_of(CATEGORIES)
_index = {c["id"]: i for i, c in enumerate(CATEGORIES)}
TABLE = label_table({x.id: _index.get(x.id, VOID) for x in cityscapes_labels if x.id >= 0})


def is_kitti(source: Path) -> bool:
    return any((source / "training" / f).is_dir() for f in ("semantic", "instance", "annotations"))


def open_kitti(source: Path) -> Published:
    """The frames of either dataset."""
    if (source / "training" / "annotations").is_dir():
        splits = {
            split: pair_files(source / folder / "images", source / folder / "annotations", TITLE)
            for split, folder in (("train", "training"), ("val", "validation"))
        }
        return Published(TITLE, CATEGORIES, splits, read_panoptic)
    cure = "give the folder with training/ that data_semantics.zip was unpacked to"
    instance = require(source / "training" / "instance", TITLE, cure)
    frames = pair_files(source / "training" / "image_2", instance, TITLE)
    val = frames[VALIDATION_STEP - 1 :: VALIDATION_STEP]
    train = [frame for frame in frames if frame not in val]
    if not val:
        raise InputError(f"{instance} holds {len(frames)} images; KITTI has 200, unpack it again.")
    return Published(TITLE, CATEGORIES, {"train": train, "val": val}, read_benchmark)


def read_benchmark(frame: Frame) -> Labels:
    """Of 16-bit PNGs: label id * 256 + number of the object from 1, or 0 for a group."""
    values = read_ids(frame.ground_truth, only_16_bits=True)
    classes = look_up(values >> 8, TABLE, frame.ground_truth, TITLE)
    return Labels(classes, np.where(IS_THING[classes], values & 255, 0))


def read_panoptic(frame: Frame) -> Labels:
    """Of COCO's PNGs: label id, or label id * 1000 + number of the object from 0."""
    file = frame.ground_truth
    try:
        values = read_segment_ids(str(file))
    except DAMAGED as error:
        raise unreadable(file, error, "unpack it again") from error
    single = values >= 1000
    classes = look_up(np.where(single, values // 1000, values), TABLE, file, TITLE)
    return Labels(classes, np.where(single & IS_THING[classes], values % 1000 + 1, 0))
