"""Which instances of two maps of an image are the same object, and colours of both."""

from collections.abc import Iterator, Sequence

import numpy as np
import pycocotools.mask as mask_util

from efficientps_d2_runtime.colors import shades


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
    if not rles or not others:
        return [None] * len(rles)
    ious = mask_util.iou(rles, others, [0] * len(others))
    ious[np.not_equal.outer(classes, other_classes)] = 0
    pairs = dict(best_pairs(ious))
    return [pairs.get(row) for row in range(len(rles))]


def best_pairs(likeness: np.ndarray, least: float = 0.0) -> Iterator[tuple[int, int]]:
    """Pairs (row, column), the most alike first; each row and column has at most one.

    Args:
        likeness: (N, M), with N and M above 0.
        least: pairs with no more are left out.
    """
    likeness = likeness.copy()
    while likeness.max() > least:
        row, column = np.unravel_index(likeness.argmax(), likeness.shape)
        yield int(row), int(column)
        likeness[row], likeness[:, column] = least, least
