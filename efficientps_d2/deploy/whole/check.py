"""The file of a whole network is run by its runtime and compared with the network."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from detectron2.structures import Instances
from tabulate import tabulate

from efficientps_d2.data.streets.scene import paint_scene
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.prediction import Prediction

# Height and width of images, none that of the export.
SIZES = ((256, 512), (97, 211), (24, 40), (33, 640), (480, 320))
BOXES, SCORES = 0.01, 1e-3  # pixels; probability
# Shares of the pixels that are the same, of all images and of each: rounding decides on classes
# that are as likely as each other, and of a small image on a large share.
PIXELS, PIXELS_OF_IMAGE = 0.9999, 0.999
FEW = 3  # pixels of an image, or of a mask, that may be others


class Agreement(NamedTuple):
    """How much of one image is the same.

    ``pixels`` and ``semantic`` are shares of the pixels with the same segment and class,
    ``boxes`` and ``scores`` the largest differences, ``masks`` the most pixels in which a mask is
    another; infinite if their numbers differ.
    """

    size: tuple[int, int]
    pixels: float
    segments: int
    same_segments: bool
    instances: int
    boxes: float
    scores: float
    masks: float
    semantic: float

    @property
    def count(self) -> int:
        """Pixels."""
        return self.size[0] * self.size[1]

    @property
    def holds(self) -> bool:
        """Whether the image says nothing against the file."""
        share = min(PIXELS_OF_IMAGE, 1 - FEW / self.count)
        same = self.same_segments and min(self.pixels, self.semantic) >= share
        near = self.boxes <= BOXES and self.scores <= SCORES and self.masks <= FEW
        return same and near


def compare_painted(by_file: Callable, predict: Callable, sizes=SIZES) -> list[Agreement]:
    """Compare a file with what a predictor says of painted scenes.

    Args:
        by_file: from an (H, W, 3) uint8 RGB image to what the file says.
        predict: as before, of a ``Predictor``.
        sizes: of the images.

    Raises:
        InputError: if ONNX Runtime cannot run the file.
    """
    return [agreement(by_file(image), predict(image)) for image in painted(sizes)]


def painted(sizes=SIZES) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB streets of these sizes."""
    for seed, (height, width) in enumerate(sizes):
        scene, _ = paint_scene(np.random.default_rng(seed))
        yield cv2.resize(scene, (width, height), interpolation=cv2.INTER_AREA)


def agreement(found: Prediction, expected) -> Agreement:
    """What a file says against the ``Prediction`` of the network in PyTorch."""
    segments, others = expected.segments, found.segments
    instances = expected.instances
    boxes, masks = _instances_apart(found, instances)
    areas = np.bincount(found.panoptic_seg.ravel(), minlength=len(others) + 1)[1:].tolist()
    same_kinds = [(s.id, s.category_id, s.isthing) for s in segments] == [
        (s.id, s.category_id, s.isthing) for s in others
    ]
    scores = _far([s.score for s in others], [s.score for s in segments])
    return Agreement(
        expected.panoptic_seg.shape,
        float((found.panoptic_seg == expected.panoptic_seg).mean()),
        len(segments),
        same_kinds and areas == [s.area for s in others],
        len(instances),
        boxes,
        float(np.max([scores, _far(found.scores, instances.scores.numpy())])),  # not without NaN
        masks,
        float((found.sem_seg == expected.sem_seg).mean()),
    )


def _instances_apart(found: Prediction, instances: Instances) -> tuple[float, float]:
    """How far the nearest box of its class is from a box, and pixels between their masks, at most.

    Of two with nearly the same score, any may come first.
    """
    if len(instances) != len(found.boxes):
        return np.inf, np.inf
    if not len(instances):  # whose masks are not there
        return 0.0, 0.0
    apart = box_distances(found, instances)
    worst = np.max([apart.min(axis=0).max(), apart.min(axis=1).max()])
    if not worst <= BOXES:  # NaN, too
        return float(worst), np.inf
    other_masks = found.masks[apart.argmin(axis=1)] != instances.pred_masks.numpy()
    return float(worst), float(other_masks.sum(axis=(1, 2)).max())


def box_distances(found: Prediction, instances: Instances) -> np.ndarray:
    """(N, M) pixels between the corners of N boxes of a network and M of a file, at most.

    Infinite between different classes.
    """
    boxes, classes = instances.pred_boxes.tensor.numpy(), instances.pred_classes.numpy()
    apart = np.abs(boxes[:, None] - found.boxes).max(axis=2)
    apart[np.not_equal.outer(classes, found.classes)] = np.inf
    return apart


def _far(found: np.ndarray, expected) -> float:
    """The largest difference."""
    if len(found) != len(expected):
        return np.inf
    return float(np.abs(np.subtract(found, expected)).max(initial=0.0))


def agreement_table(found: list[Agreement]) -> str:
    header = ["image", "same pixels", "segments", "instances", "boxes, px", "scores", "masks, px"]
    header += ["semantic"]
    rows = [
        [
            f"{a.size[0]} x {a.size[1]}",
            f"{100 * a.pixels:.3f} %",
            f"{a.segments}{'' if a.same_segments else ', others'}",
            a.instances,
            f"{a.boxes:.1e}",
            f"{a.scores:.1e}",
            f"{a.masks:.0f}",
            f"{100 * a.semantic:.3f} %",
        ]
        for a in found
    ]
    return tabulate(rows, header, disable_numparse=True, tablefmt="github")


def summary(found: list[Agreement]) -> str:
    """One sentence about many images."""
    same = sum(agreement.holds for agreement in found)
    segments = sum(agreement.same_segments for agreement in found)
    return (
        f"{len(found)} images: {segments} with the same segments, {same} the same within the "
        f"limits; of all pixels {100 * _share(found):.4f} % are the same."
    )


def require_agreement(found: list[Agreement]) -> None:
    """
    Raises:
        InputError: if the file says something else of an image than the network.
    """
    wrong = [a for a in found if not a.holds]
    if wrong:
        height, width = wrong[0].size
        raise InputError(
            f"The onnx file differs from the network on an image of {height} x {width} pixels, as "
            "the table says; it was not kept."
        )
    require_same_pixels(found)


def require_same_pixels(found: list[Agreement]) -> None:
    """
    Raises:
        InputError: if too many of all pixels are others.
    """
    share = _share(found)
    if share < PIXELS:
        raise InputError(
            f"The onnx file differs from the network in {100 * (1 - share):.3f} % of the pixels; "
            "it was not kept."
        )


def _share(found: list[Agreement]) -> float:
    """Of all pixels, those with the same segment and class."""
    same = sum(agreement.count * min(agreement.pixels, agreement.semantic) for agreement in found)
    return same / sum(agreement.count for agreement in found)
