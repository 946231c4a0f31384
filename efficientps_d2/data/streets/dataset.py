"""The embedded dataset "streets": painted street scenes in the layout of Cityscapes.

``efficientps-d2 streets`` writes ``leftImg8bit`` and ``gtFine`` with the file names
and label ids of Cityscapes, converted by cityscapesscripts like the real data. Every scene follows
from the seed, its split and its number alone.
"""

import contextlib
import functools
import io
import json
import os
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from cityscapesscripts.preparation.json2labelImg import createLabelImage
from PIL import Image

from efficientps_d2.data.streets.scene import paint_scene
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_folder

SPLITS = {"train": 300, "val": 60}
SEED_ORDER = ("train", "val", "test")
MARKER = "streets.json"  # marks a folder of ours, which may be replaced
CITY = "paintville"


def write_scene(root: Path, seed: int, job: tuple[str, int]) -> None:
    """Paint scene (split, number) and write its image, polygons, label ids and instance ids."""
    split, number = job
    rng = np.random.default_rng([seed, SEED_ORDER.index(split), number])
    image, objects = paint_scene(rng)
    base = f"{CITY}_{number:06d}_000000"
    image_file = root / "leftImg8bit" / split / CITY / f"{base}_leftImg8bit.png"
    gt = str(root / "gtFine" / split / CITY / f"{base}_gtFine_")
    Image.fromarray(image).save(image_file)

    height, width = image.shape[:2]
    polygons = {"imgHeight": height, "imgWidth": width, "objects": objects}
    Path(f"{gt}polygons.json").write_text(json.dumps(polygons))
    annotation = Annotation()
    annotation.fromJsonText(json.dumps(polygons))
    createLabelImage(annotation, "ids").save(f"{gt}labelIds.png")
    createLabelImage(annotation, "trainIds").save(f"{gt}labelTrainIds.png")
    # cityscapesscripts' own writer of this file fails with Pillow 11 and newer.
    instance_ids = np.asarray(createInstanceImage(annotation, "ids")).astype(np.uint16)
    Image.fromarray(instance_ids).save(f"{gt}instanceIds.png")


def make_streets(root: str | Path, *, splits: dict[str, int] | None = None, seed: int = 0) -> None:
    """Write the whole dataset to ``root``; what is there is replaced only when all is written.

    Args:
        root: folder of the dataset, ``$DETECTRON2_DATASETS/streets`` for the names
            ``streets_train`` and ``streets_val``.
        splits: number of images of each split ("train", "val", "test").
        seed: seed of all scenes.
    """
    root, splits = Path(root), splits or SPLITS
    if root.exists() and not (root / MARKER).is_file() and any(root.iterdir()):
        raise InputError(f"{root} is not empty and not a streets dataset; give another folder.")
    with replacing_folder(root) as partial:
        for split in splits:
            (partial / "leftImg8bit" / split / CITY).mkdir(parents=True)
            (partial / "gtFine" / split / CITY).mkdir(parents=True)
        jobs = [(split, i) for split, count in splits.items() for i in range(count)]
        write = functools.partial(write_scene, partial, seed)
        for _ in map_images(write, jobs, os.cpu_count(), "painting streets"):
            pass  # it is written
        with contextlib.redirect_stdout(io.StringIO()):
            convert2panoptic(str(partial / "gtFine"), setNames=list(splits))
        (partial / MARKER).write_text(json.dumps({"seed": seed, **splits}))
