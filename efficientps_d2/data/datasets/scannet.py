"""ScanNet v2: the 25,000 frames of ``scannet_frames_25k`` with the 20 classes of its benchmark.

The splits are lists of scenes, which the publisher keeps beside the code of the benchmark.
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2.data.datasets.published import (
    VOID,
    Frame,
    Labels,
    Published,
    by_stem,
    label_table,
    look_up,
    require,
    require_pairs,
    things_of,
)
from efficientps_d2.data.images import load_image, read_ids
from efficientps_d2.data.segments import resize_nearest
from efficientps_d2.data.text_files import load_text
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import size_of

TITLE = "ScanNet"
NYU40 = 40  # labels; those of other classes than the 20 are void
SHAPE_TOLERANCE = 0.02  # of the ratio of width and height
NO_NUMBER = 1001  # of an object without one; others have up to 1000

_CLASSES = (  # NYU40 id, name, thing, colour
    (1, "wall", 0, (174, 199, 232)),
    (2, "floor", 0, (152, 223, 138)),
    (3, "cabinet", 1, (31, 119, 180)),
    (4, "bed", 1, (255, 187, 120)),
    (5, "chair", 1, (188, 189, 34)),
    (6, "sofa", 1, (140, 86, 75)),
    (7, "table", 1, (255, 152, 150)),
    (8, "door", 1, (214, 39, 40)),
    (9, "window", 1, (197, 176, 213)),
    (10, "bookshelf", 1, (148, 103, 189)),
    (11, "picture", 1, (196, 156, 148)),
    (12, "counter", 1, (23, 190, 207)),
    (14, "desk", 1, (247, 182, 210)),
    (16, "curtain", 1, (219, 219, 141)),
    (24, "refrigerator", 1, (255, 127, 14)),
    (28, "shower curtain", 1, (158, 218, 229)),
    (33, "toilet", 1, (44, 160, 44)),
    (34, "sink", 1, (112, 128, 144)),
    (36, "bathtub", 1, (227, 119, 194)),
    (39, "otherfurniture", 1, (82, 84, 163)),
)
CATEGORIES = [
    {"id": id_, "name": name, "isthing": thing, "color": list(color)}
    for id_, name, thing, color in _CLASSES
]
IS_THING = things_of(CATEGORIES)
_index = {c["id"]: i for i, c in enumerate(CATEGORIES)}
TABLE = label_table({i: _index.get(i, VOID) for i in range(NYU40 + 1)})


def is_scannet(source: Path) -> bool:
    return next(source.glob("scene*_*/instance"), None) is not None


def open_scannet(source: Path, depth: bool = False) -> Published:
    """The frames of the scenes in ``scannetv2_train.txt`` and ``scannetv2_val.txt``.

    Args:
        source: scannet_frames_25k with these two files.
        depth: make images of red, green, blue and depth in mm, with the size of the depth camera,
            whose view is taken for that of the colour camera.
    """
    splits, listed = {}, set()
    for split in ("train", "val"):
        cure = "download it from Tasks/Benchmark/ of github.com/ScanNet/ScanNet"
        file = require(source / f"scannetv2_{split}.txt", TITLE, cure)
        scenes = load_text(file).split()
        if len(set(scenes)) < len(scenes):
            raise InputError(f"{file} lists a scene twice; download it again.")
        if both := sorted(listed.intersection(scenes)):
            raise InputError(f"{file} lists {both[0]}, as the other list does; download it again.")
        listed.update(scenes)
        splits[split] = [frame for scene in scenes for frame in _frames(source / scene, depth)]
        if not splits[split]:
            raise InputError(f"{file} lists no scene; download it again.")
    others = sum(f.is_dir() and f.name not in listed for f in source.glob("scene*_*"))
    notes = (f"{others} scenes are in no list and were left out",) if others else ()
    if depth:
        read, make = partial(read_labels, of_depth=True), read_depth
        return Published(
            TITLE, CATEGORIES, splits, read, make_image=make, suffix=".tif", notes=notes
        )
    return Published(TITLE, CATEGORIES, splits, read_labels, notes=notes)


def _frames(scene: Path, depth: bool) -> list[Frame]:
    cure = "unpack scannet_frames_25k.zip again, or take the scene from its list"
    truths, images = (
        by_stem(require(scene / name, TITLE, cure).glob(f"*{suffix}"), cure)
        for name, suffix in (("instance", ".png"), ("color", ".jpg"))
    )
    if not truths:
        raise InputError(f"{scene / 'instance'} holds no PNG; {cure}.")
    require_pairs(images, truths, scene / "color", scene / "instance", cure)
    frames = [Frame(f"{scene.name}__{stem}", images[stem], file) for stem, file in truths.items()]
    if not depth:
        return frames
    folder = scene / "depth"
    return [frame._replace(others=(folder / f"{frame.image.stem}.png",)) for frame in frames]


def read_depth(frame: Frame) -> np.ndarray:
    """(H, W, 4) float32: red, green, blue, and mm, NaN where the camera measured none."""
    depth = read_ids(_depth_file(frame), only_16_bits=True)
    height, width = depth.shape
    color = load_image(frame.image, frame.image).convert("RGB")
    color = color.resize((width, height), Image.Resampling.BILINEAR)
    return np.dstack([np.asarray(color), np.where(depth, depth, np.nan)]).astype(np.float32)


def _depth_file(frame: Frame) -> Path:
    return require(frame.others[0], TITLE, "unpack scannet_frames_25k.zip again")


def read_labels(frame: Frame, of_depth: bool = False) -> Labels:
    """Of 16-bit PNGs: NYU40 id * 1000 + number, where walls and floors may have one, too.

    Ids below 1000 are an object, not a group, as for the publisher's converter. Labels get the size
    of the image, or ``of_depth``, whichever camera they were made for.
    """
    values = read_ids(frame.ground_truth, only_16_bits=True)
    file = _depth_file(frame) if of_depth else frame.image
    height, width = size_of(file) or values.shape
    if abs(values.shape[1] * height - values.shape[0] * width) > (
        SHAPE_TOLERANCE * width * values.shape[0]
    ):
        raise InputError(
            f"{frame.ground_truth} is {values.shape[1]} x {values.shape[0]} pixels, which is no "
            f"smaller form of the {width} x {height} of {file}; unpack both again."
        )
    values = resize_nearest(values, (height, width))
    numbered = values >= 1000
    labels = np.where(numbered, values // 1000, values)
    classes = look_up(labels, TABLE, frame.ground_truth, TITLE)
    numbers = np.where(numbered, values % 1000 + 1, NO_NUMBER)
    return Labels(classes, np.where(IS_THING[classes], numbers, 0))
