"""Painted streets with annotations as labelme saves them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2.data.streets.scene import paint_scene
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_folder


def write_labelme_example(folder: Path, count: int = 20) -> None:
    """Write ``scene_NN.jpg`` and ``scene_NN.json`` into a new folder.

    Raises:
        InputError: if the folder exists or cannot be made.
    """
    try:
        if folder.exists():
            raise InputError(f"{folder} exists already; give another folder.")
        with replacing_folder(folder) as partial:
            for number in range(count):
                _write_scene(partial, number)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}); give another.") from error


def _write_scene(folder: Path, number: int) -> None:
    """Write scene_NN.jpg and scene_NN.json."""
    image, objects = paint_scene(np.random.default_rng([2026, number]))
    file = folder / f"scene_{number:02d}.jpg"
    Image.fromarray(image).save(file, quality=95)
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {
                "label": item["label"],
                "points": item["polygon"],
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for item in objects
            if _is_visible(item["polygon"], *image.shape[:2])
        ],
        "imagePath": file.name,
        "imageData": None,
        "imageHeight": image.shape[0],
        "imageWidth": image.shape[1],
    }
    file.with_suffix(".json").write_text(json.dumps(content, indent=1))


def _is_visible(polygon: list, height: int, width: int) -> bool:
    """Whether any of it may lie in the image: the painter also paints beside it."""
    (left, top), (right, bottom) = np.min(polygon, axis=0), np.max(polygon, axis=0)
    return left < width and right >= 0 and top < height and bottom >= 0
