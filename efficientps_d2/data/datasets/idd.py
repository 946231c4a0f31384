"""The Indian Driving Dataset with its 26 classes of level 3, as AutoNUE's panoptic challenge.

The publisher packs polygons. As its tools do, they are painted in their order, numbered for each
class of level 3, and made 1280 x 720 pixels large.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from efficientps_d2.data.datasets.published import (
    DAMAGE,
    VOID,
    Frame,
    Labels,
    Published,
    require,
    require_pairs,
    things_of,
)
from efficientps_d2.data.text_files import load_json
from efficientps_d2_runtime.errors import InputError

TITLE = "IDD"
SIZE = 720, 1280  # of the publisher's panoptic ground truth
LARGEST = 10_000  # pixels of a side
TRUTH = "_gtFine_polygons.json"

_CLASSES = (  # in the order of level-3 ids: name, thing, colour, labels if not just the name
    ("road", 0, (128, 64, 128)),
    ("parking", 0, (250, 170, 160), "parking", "drivable fallback"),
    ("sidewalk", 0, (244, 35, 232)),
    ("rail track", 0, (230, 150, 140), "rail track", "non-drivable fallback"),
    ("person", 1, (220, 20, 60), "person", "animal"),
    ("rider", 1, (255, 0, 0)),
    ("motorcycle", 1, (0, 0, 230)),
    ("bicycle", 1, (119, 11, 32)),
    ("autorickshaw", 1, (255, 204, 54)),
    ("car", 1, (0, 0, 142)),
    ("truck", 1, (0, 0, 70)),
    ("bus", 1, (0, 60, 100)),
    ("vehicle fallback", 1, (136, 143, 153), "caravan", "trailer", "train", "vehicle fallback"),
    ("curb", 0, (220, 190, 40)),
    ("wall", 0, (102, 102, 156)),
    ("fence", 0, (190, 153, 153)),
    ("guard rail", 0, (180, 165, 180)),
    ("billboard", 0, (174, 64, 67)),
    ("traffic sign", 0, (220, 220, 0)),
    ("traffic light", 0, (250, 170, 30)),
    ("pole", 0, (153, 153, 153), "pole", "polegroup"),
    ("obs-str-bar-fallback", 0, (169, 187, 214)),
    ("building", 0, (70, 70, 70)),
    ("bridge", 0, (150, 100, 100), "bridge", "tunnel"),
    ("vegetation", 0, (107, 142, 35)),
    ("sky", 0, (70, 130, 180), "sky", "fallback background"),
)
_VOID = ("unlabeled", "ego vehicle", "rectification border", "out of roi", "license plate")
CATEGORIES = [
    {"id": i, "name": name, "isthing": thing, "color": list(color)}
    for i, (name, thing, color, *_) in enumerate(_CLASSES)
]
IS_THING = things_of(CATEGORIES)
CLASS_OF = {
    label: i for i, (name, _, _, *labels) in enumerate(_CLASSES) for label in labels or [name]
}
CLASS_OF |= dict.fromkeys(_VOID, VOID)


def is_idd(source: Path) -> bool:
    """Cityscapes has the same tree, but its drives are cities, not numbers."""
    drives = (source / "gtFine" / "train").glob("[0-9]*")
    return any(next(drive.glob(f"*{TRUTH}"), None) for drive in drives)


def open_idd(source: Path) -> Published:
    """The frames of gtFine/train and gtFine/val; parts I and II may lie in one folder."""
    cure = "give the folder with gtFine/ and leftImg8bit/ that the archive was unpacked to"
    splits = {}
    for split in ("train", "val"):
        folder = require(source / "gtFine" / split, TITLE, cure)
        root = require(source / "leftImg8bit" / split, TITLE, cure)
        truths = _by_drive(folder.glob(f"*/*{TRUTH}"), TRUTH)
        images = _by_drive(root.glob("*/*_leftImg8bit.*"), "_leftImg8bit")
        if not truths:
            raise InputError(f"{folder} holds no DRIVE/*{TRUTH}; {cure}.")
        require_pairs(images, truths, root, folder, "unpack the archives again")
        splits[split] = [Frame(name, images[name], file) for name, file in truths.items()]
    return Published(TITLE, CATEGORIES, splits, read_labels, size=SIZE)


def _by_drive(files: Iterable[Path], ending: str) -> dict[str, Path]:
    """Files by drive and frame: images are .png, in part II .jpg."""
    return {f"{f.parent.name}_{f.name.partition(ending)[0]}": f for f in sorted(files)}


def read_labels(frame: Frame) -> Labels:
    """Paint the polygons; a label that ends in "group" is a group of that class."""
    file, content = frame.ground_truth, load_json(frame.ground_truth)
    try:
        size = int(content["imgWidth"]), int(content["imgHeight"])
        shapes = [
            (str(o["label"]), [(float(x), float(y)) for x, y in o["polygon"]])
            for o in content["objects"]
            if not o.get("deleted")
        ]
        if not 0 < min(size) <= max(size) <= LARGEST:
            raise ValueError(f"a size of {size[0]} x {size[1]}")
    except DAMAGE as error:
        raise InputError(
            f"{file} is damaged ({error!r}): imgWidth, imgHeight and objects with label and "
            "polygon are needed; unpack it again."
        ) from error
    classes, instances = Image.new("I", size, VOID), Image.new("I", size)
    on_classes, on_instances = ImageDraw.Draw(classes), ImageDraw.Draw(instances)
    counts = [0] * len(CATEGORIES)
    for label, polygon in shapes:
        is_group = label not in CLASS_OF
        class_id = CLASS_OF.get(label.removesuffix("group") if is_group else label)
        if class_id is None:
            raise InputError(
                f"{file} has the label {label!r}, which {TITLE} does not have; give the data of "
                "that dataset, or unpack the file again."
            )
        number = 0
        if IS_THING[class_id] and not is_group:
            counts[class_id] += 1  # also for objects that others hide
            number = counts[class_id]
        if len(polygon) > 2:
            on_classes.polygon(polygon, fill=class_id)
            on_instances.polygon(polygon, fill=number)
    return Labels(np.asarray(classes), np.asarray(instances))
