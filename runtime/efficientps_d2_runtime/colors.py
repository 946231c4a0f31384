"""Colours of instances: shades of their classes."""

from collections.abc import Sequence

import numpy as np


def shades(class_colors: Sequence, classes: Sequence[int]) -> list[tuple[float, float, float]]:
    """An RGB colour, from 0 to 1, for each instance, close to that of its class.

    Args:
        class_colors: RGB from 0 to 255 of each class.
        classes: class of each instance.
    """
    if not classes:
        return []
    colors = np.array([class_colors[class_id] for class_id in classes]) / 255
    return [tuple(color) for color in np.clip(colors + offsets(len(classes)), 0, 1).tolist()]


def offsets(count: int) -> np.ndarray:
    """(N, 3) what is added to the class colours, from 0 to 1, of the first instances."""
    random = np.random.default_rng(0).random((count, 3))
    return random * (0.5 / np.linalg.norm(random, axis=1, keepdims=True))
