"""Places of labels in an image: none covers another, or much of an object that is not its own."""

from collections.abc import Iterable

import numpy as np

MAX_COVERED = 0.25  # of an object, by the label of another one


class LabelPlaces:
    """Finds free places and remembers the labels that have them."""

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self.taken: list[tuple[int, int, int, int]] = []  # x0, y0, x1, y1
        self.objects: np.ndarray | None = None

    def avoid(self, objects: np.ndarray) -> None:
        """Set (H, W) integers: which object each pixel belongs to, 0 for none."""
        self.objects, self.areas = objects, np.bincount(objects.ravel())

    def find(
        self, x: float, tops: Iterable[float], size: tuple[float, float], own: int = 0
    ) -> tuple[float, float] | None:
        """Take the first place that is free.

        Args:
            x: where the middle of the label should be.
            tops: of the label, the best first.
            size: width and height of the label.
            own: an object that it may cover.

        Returns:
            Middle and top, moved into the image; None if no place is free.
        """
        width, height = size
        x = max(min(x, self.width - width / 2), width / 2)
        for top in tops:
            top = max(min(top, self.height - height), 2)
            box = (int(x - width / 2), int(top - 2), int(x + width / 2 + 1), int(top + height - 1))
            if self._is_free(box, own):
                self.taken.append(box)
                return x, top
        return None

    def _is_free(self, box: tuple[int, int, int, int], own: int) -> bool:
        x0, y0, x1, y1 = box
        for left, top, right, bottom in self.taken:
            if x0 < right and left < x1 and y0 < bottom and top < y1:
                return False
        if self.objects is None:
            return True
        inside = self.objects[max(0, y0) : y1, max(0, x0) : x1]
        covered = np.bincount(inside.ravel(), minlength=len(self.areas))
        covered[[0, own]] = 0
        return not (covered > MAX_COVERED * self.areas).any()
