"""Colours of instances: the same in all layers of an image, and from frame to frame of a video."""

from itertools import count

import numpy as np
import pycocotools.mask as mask_util
from detectron2.utils.video_visualizer import VideoVisualizer, _DetectedInstance

from efficientps_d2.prediction.predictor import Prediction, Segment

FRAMES = 8  # that a colour is kept for an instance that is not seen


class InstanceColors:
    """Chooses the colours of instances.

    Those of an image are close to the colours of their classes, those of a video are any.
    """

    def __init__(self, metadata, video: bool):
        """
        Args:
            metadata: names and colours of the classes.
            video: whether to remember the instances of the frame before.
        """
        self.class_colors = metadata.stuff_colors
        self.tracker = VideoVisualizer(metadata) if video else None

    def __call__(self, prediction: Prediction) -> tuple[list, list]:
        """RGB colours, from 0 to 1, of the things of the panoptic map and of the instances."""
        pan_seg, segments = prediction.panoptic_seg, things_of(prediction)
        classes = [segment.category_id for segment in segments]
        rles = [_encode(pan_seg == segment.id) for segment in segments]
        twins = list(range(len(segments)))
        if prediction.instances is not None:
            instance_classes = prediction.instances.pred_classes.tolist()
            instance_rles = [_encode(mask) for mask in np.asarray(prediction.instances.pred_masks)]
            found = _twins(instance_rles, instance_classes, rles, classes)
            new = count(len(segments))
            for rle, class_id, twin in zip(instance_rles, instance_classes, found, strict=True):
                if twin is None:
                    rles.append(rle)
                    classes.append(class_id)
                twins.append(next(new) if twin is None else twin)
        colors = self._choose(rles, classes)
        colors = [colors[twin] for twin in twins]
        return colors[: len(segments)], colors[len(segments) :]

    def _choose(self, rles: list[dict], classes: list[int]) -> list:
        if not rles:
            return []
        if self.tracker:
            seen = zip(rles, classes, strict=True)
            return self.tracker._assign_colors(
                [_DetectedInstance(class_id, None, rle, None, FRAMES) for rle, class_id in seen]
            )
        shades = np.random.default_rng(0).random((len(rles), 3))
        shades *= 0.5 / np.linalg.norm(shades, axis=1, keepdims=True)
        colors = np.array([self.class_colors[class_id] for class_id in classes]) / 255
        return [tuple(color) for color in np.clip(colors + shades, 0, 1).tolist()]


def things_of(prediction: Prediction) -> list[Segment]:
    """The segments of a panoptic map that are things."""
    return [segment for segment in prediction.segments if segment.isthing]


def _encode(mask: np.ndarray) -> dict:
    return mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))


def _twins(rles: list, classes: list[int], other: list, other_classes: list[int]) -> list:
    """For each mask the most similar other one of its class, which no other mask gets, or None."""
    twins = [None] * len(rles)
    if not rles or not other:
        return twins
    ious = mask_util.iou(rles, other, [0] * len(other))
    ious[np.not_equal.outer(classes, other_classes)] = 0
    while ious.max() > 0:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        twins[row] = int(column)
        ious[row], ious[:, column] = 0, 0
    return twins
