"""Videos of painted streets: the camera drives ahead, cars drive, people and cyclists cross."""

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import labels
from tqdm import tqdm

from efficientps_d2.data.streets.objects import HEIGHT, WIDTH, Item
from efficientps_d2.data.streets.scene import paint_items, photograph, place_items
from efficientps_d2.data.video_panoptic import VideoFrames
from efficientps_d2.data.videos import VideoWriter
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_folder

RATE = 15  # frames in a second
FRAMES = 90
CATEGORIES = [
    {"id": label.id, "name": label.name, "isthing": int(label.hasInstances), "color": label.color}
    for label in labels
    if not label.ignoreInEval
]


def write_street_videos(
    folder: Path, count: int = 4, frames: int | None = None, seed: int = 0
) -> None:
    """Write ``street_N.mp4``, and their ground truth ``panoptic/`` and ``panoptic.json``.

    Args:
        folder: a new one.
        count: of videos.
        frames: of each; by default :data:`FRAMES`.
        seed: of all scenes.

    Raises:
        InputError: if the folder exists.
    """
    frames = frames or FRAMES
    if folder.exists():
        raise InputError(f"{folder} exists already; give another folder.")
    with replacing_folder(folder) as partial:
        (partial / "panoptic").mkdir()
        truth = VideoFrames(partial / "panoptic", CATEGORIES)
        with tqdm(total=count * frames, desc="painting streets", unit="frame") as bar:
            for number in range(count):
                truth.begin(f"street_{number}")
                with VideoWriter(partial / f"street_{number}.mp4") as video:
                    for i in range(frames):
                        time = Fraction(i, RATE)
                        image, pan_seg, segments = paint_frame([seed, number], float(time))
                        video.write(image, time, Fraction(1, RATE))
                        truth.add(pan_seg, segments)
                        bar.update()
        (partial / "panoptic.json").write_text(json.dumps(truth.content), encoding="utf-8")


def paint_frame(seed: list[int], time: float) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """Paint a scene ``time`` seconds after its beginning.

    Returns:
        The image (256, 512, 3) uint8 RGB, and what :func:`label_frame` says of it.
    """
    items = place_items(np.random.default_rng(seed), time)
    painted = paint_items(items, np.random.default_rng(0))
    return photograph(painted, np.random.default_rng(seed)), *label_frame(items)


def label_frame(items: list[Item]) -> tuple[np.ndarray, list[dict]]:
    """Segment ids (256, 512) int32, which last, and the segments.

    These have ``id``, ``category_id`` (position in :data:`CATEGORIES`) and ``area``.
    """
    pan_seg, classes = np.zeros((HEIGHT, WIDTH), np.int32), {}
    for item in items:
        class_id = _class_of(item.label)
        isthing = CATEGORIES[class_id]["isthing"]
        id_ = len(CATEGORIES) + item.number if isthing else class_id + 1
        classes[id_] = class_id
        cv2.fillPoly(pan_seg, [np.round(item.outline).astype(np.int32)], id_)
    ids, areas = np.unique(pan_seg, return_counts=True)
    return pan_seg, [
        {"id": id_, "category_id": classes[id_], "area": area}
        for id_, area in zip(ids.tolist(), areas.tolist(), strict=True)
    ]


def _class_of(label: str) -> int:
    return next(i for i, c in enumerate(CATEGORIES) if c["name"] == label)
