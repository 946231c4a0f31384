"""Colours of instances: shades of their classes, the same for an object in two maps."""

from collections.abc import Sequence

import numpy as np
import pycocotools.mask as mask_util


def shades(class_colors: Sequence, classes: Sequence[int]) -> list[tuple[float, float, float]]:
    """An RGB colour, from 0 to 1, for each instance, close to that of its class.

    Args:
        class_colors: RGB from 0 to 255 of each class.
        classes: class of each instance.
    """
    if not classes:
        return []
    random = np.random.default_rng(0).random((len(classes), 3))
    random *= 0.5 / np.linalg.norm(random, axis=1, keepdims=True)
    colors = np.array([class_colors[class_id] for class_id in classes]) / 255
    return [tuple(color) for color in np.clip(colors + random, 0, 1).tolist()]


def shades_of_both(
    class_colors: Sequence, masks: Sequence, classes: Sequence[int], others: Sequence, other_classes
) -> tuple[list, list]:
    """Colours of the instances of two maps of one image: twins share theirs.

    Args:
        class_colors: RGB from 0 to 255 of each class.
        masks: (H, W) bool of the instances of the one map.
        classes: their classes.
        others: of the other map.
        other_classes: their classes.
    """
    found = twins(list(map(encode, others)), other_classes, list(map(encode, masks)), classes)
    alone = [c for c, twin in zip(other_classes, found, strict=True) if twin is None]
    colors = shades(class_colors, [*classes, *alone])
    rest = iter(colors[len(classes) :])
    return colors[: len(classes)], [next(rest) if t is None else colors[t] for t in found]


def encode(mask: np.ndarray) -> dict:
    """The run-length code of a mask."""
    return mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))


def twins(
    rles: list, classes: Sequence[int], others: list, other_classes: Sequence[int]
) -> list[int | None]:
    """For each mask the most similar other one of its class, which no other mask gets, or None."""
    found = [None] * len(rles)
    if not rles or not others:
        return found
    ious = mask_util.iou(rles, others, [0] * len(others))
    ious[np.not_equal.outer(classes, other_classes)] = 0
    while ious.max() > 0:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        found[row] = int(column)
        ious[row], ious[:, column] = 0, 0
    return found
