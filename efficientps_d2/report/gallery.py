"""Images of a report: image, ground truth, prediction and what is wrong with it."""

import base64
import random
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from efficientps_d2.data.bands import read_shown
from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.report.error_analysis import (
    BOUNDARY,
    EXTRA,
    KINDS,
    MISSED,
    UNLABELED,
    WRONG_CLASS,
    ImageErrors,
    count_errors,
    error_kinds,
    error_map,
    image_pq,
)
from efficientps_d2.report.run import SavedPredictions, matches_of
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import DAMAGED, damage

LONG_SIDE = 640  # of an image in the page
COLORS = {  # of Okabe and Ito, which the colour-blind can tell apart; correct shows the image
    BOUNDARY: (240, 228, 66),
    WRONG_CLASS: (204, 121, 167),
    MISSED: (213, 94, 0),
    EXTRA: (0, 114, 178),
    UNLABELED: (40, 40, 40),
}
NO_COLOR = (0, 0, 0)  # of pixels without a class


class Card(NamedTuple):
    """An image of the gallery."""

    group: str  # best, worst or random
    file_name: str
    pq: float
    counts: dict[str, int]  # segments by kind of match
    panels: dict[str, str]  # by caption, as data URI
    class_ids: set[int]


def choose_images(samples: list[dict], count: int, seed: int = 0) -> list[tuple[str, dict]]:
    """The best, the worst and random images by their PQ, ``count`` of each, none twice."""
    ranked = [(image_pq(matches_of(p)), i) for i, p in enumerate(samples) if p["matches"]]
    order = [samples[i] for _, i in sorted(ranked, reverse=True)]
    if len(order) <= 3 * count:
        return [("all", sample) for sample in order]
    rest = random.Random(seed).sample(order[count:-count], count)
    groups = {"best": order[:count], "worst": order[-count:], "random": rest}
    return [(group, sample) for group, members in groups.items() for sample in members]


def analyse(
    samples: list[dict], saved: SavedPredictions, images: int, processes: int
) -> tuple[ImageErrors, list[Card]]:
    """Errors of all images together and the cards of the gallery, with a progress bar.

    Args:
        samples: lines of NAME_images.jsonl.
        saved: the predictions.
        images: of the best, the worst and of random ones in the gallery, each.
        processes: how many.
    """
    pixels = dict.fromkeys(KINDS, 0)
    num_classes = len(saved.categories)
    confusion = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    groups = {sample["file_name"]: group for group, sample in choose_images(samples, images)}
    cards = {}
    tasks = [(sample, groups.get(sample["file_name"])) for sample in samples]
    for errors, card in map_images(
        partial(_analyse, saved=saved), tasks, processes, "analysing images"
    ):
        pixels = {kind: pixels[kind] + errors.pixels[kind] for kind in KINDS}
        confusion += errors.confusion
        if card:
            cards[card.file_name] = card
    return ImageErrors(pixels, confusion), [cards[name] for name in groups]


def _analyse(
    task: tuple[dict, str | None], saved: SavedPredictions
) -> tuple[ImageErrors, Card | None]:
    """Errors of an image at its full size, and its card if it is in a group of the gallery."""
    sample, group = task
    gt, prediction, segments = read_maps(sample, saved)
    prediction_file = saved.folder / sample["prediction"]["file_name"]
    for file, ids in ((sample["pan_seg_file_name"], gt), (prediction_file, prediction)):
        if list(ids.shape) != sample["size"]:
            raise InputError(f"{file} has another size than in the evaluation; evaluate again.")
    matches, is_thing = matches_of(sample), [c["isthing"] for c in saved.categories]
    try:
        errors = count_errors(gt, sample["segments_info"], prediction, segments, matches, is_thing)
    except ValueError as error:
        raise InputError(
            f"{prediction_file} or its ground truth has changed since the evaluation ({error}); "
            "evaluate again."
        ) from error
    card = _draw_card(group, sample, gt, prediction, segments, saved) if group else None
    return errors, card


def _draw_card(
    group: str,
    sample: dict,
    gt: np.ndarray,
    prediction: np.ndarray,
    predicted_segments: list[dict],
    saved: SavedPredictions,
) -> Card:
    matches, categories = matches_of(sample), saved.categories
    image = read_shown(sample["file_name"], saved.shown_bands)
    height, width = gt.shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    gt, prediction = (
        cv2.resize(ids.astype(np.int32), size, interpolation=cv2.INTER_NEAREST)
        for ids in (gt, prediction)
    )
    colors = [category["color"] for category in categories]
    things = [i for i, category in enumerate(categories) if category["isthing"]]
    kind = error_kinds(sample["segments_info"], predicted_segments, matches, things)
    panels = {
        "image": image,
        "ground truth": paint_segments(image, gt, sample["segments_info"], colors),
        "prediction": paint_segments(image, prediction, predicted_segments, colors),
        "errors": paint_errors(image, error_map(gt, prediction, kind)),
    }
    kinds = [match.kind for match in matches]
    return Card(
        group,
        sample["file_name"],
        image_pq(matches),
        {kind: kinds.count(kind) for kind in ("tp", "fn", "fp")},
        {caption: data_uri(panel) for caption, panel in panels.items()},
        {s["category_id"] for s in (*sample["segments_info"], *predicted_segments)},
    )


def paint_segments(
    image: np.ndarray, ids: np.ndarray, segments: list[dict], colors: list
) -> np.ndarray:
    """(H, W, 3) uint8: segments in the colours of their classes, with white outlines."""
    painted = np.full(image.shape, NO_COLOR, dtype=np.uint8)
    for segment in segments:
        painted[ids == segment["id"]] = colors[segment["category_id"]]
    painted = cv2.addWeighted(painted, 0.65, image, 0.35, 0)
    painted[_outlines(ids)] = 255
    return painted


def paint_errors(image: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: kinds of error in their colours over the faded image."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    painted = cv2.addWeighted(grey, 0.35, np.full_like(grey, 255), 0.65, 0)
    for kind, color in COLORS.items():
        painted[kinds == KINDS.index(kind)] = color
    return painted


def _outlines(ids: np.ndarray) -> np.ndarray:
    outlines = np.zeros(ids.shape, dtype=bool)
    outlines[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    outlines[1:] |= ids[1:] != ids[:-1]
    return outlines


def read_maps(sample: dict, saved: SavedPredictions) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    """True and predicted ids, and predicted segments with contiguous classes."""
    maps = []
    for file in (
        Path(sample["pan_seg_file_name"]),
        saved.folder / sample["prediction"]["file_name"],
    ):
        try:
            maps.append(read_segment_ids(str(file)))
        except DAMAGED as error:
            raise InputError(f"{file} cannot be read ({damage(error)}); evaluate again.") from error
    classes = {category["id"]: i for i, category in enumerate(saved.categories)}
    segments = [
        {"id": s["id"], "category_id": classes[s["category_id"]]}
        for s in sample["prediction"]["segments_info"]
    ]
    return *maps, segments


def data_uri(image: np.ndarray) -> str:
    """An (H, W, 3) uint8 RGB image inside a page."""
    _, data = cv2.imencode(".webp", image[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80])
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
