"""Colours of instances: the same in all layers of an image, and from frame to frame of a video."""

from itertools import count

import numpy as np
from detectron2.utils.video_visualizer import VideoVisualizer, _DetectedInstance

from efficientps_d2.prediction.result import Prediction, Segment
from efficientps_d2.utils.instance_colors import encode, shades, twins

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

    def __call__(self, prediction: Prediction, instances: bool = True) -> tuple[list, list]:
        """RGB colours, from 0 to 1, of the things of the panoptic map and of the instances.

        Args:
            prediction: of the next frame.
            instances: whether they are wanted, too; it takes a mask of each.
        """
        pan_seg, segments = prediction.panoptic_seg, things_of(prediction)
        classes = [segment.category_id for segment in segments]
        rles = [encode(pan_seg == segment.id) for segment in segments]
        same = list(range(len(segments)))
        if instances and prediction.instances is not None:
            instance_classes = prediction.instances.pred_classes.tolist()
            instance_rles = [encode(mask) for mask in np.asarray(prediction.instances.pred_masks)]
            found = twins(instance_rles, instance_classes, rles, classes)
            new = count(len(segments))
            for rle, class_id, twin in zip(instance_rles, instance_classes, found, strict=True):
                if twin is None:
                    rles.append(rle)
                    classes.append(class_id)
                same.append(next(new) if twin is None else twin)
        colors = self._choose(rles, classes)
        colors = [colors[i] for i in same]
        return colors[: len(segments)], colors[len(segments) :]

    def _choose(self, rles: list[dict], classes: list[int]) -> list:
        if self.tracker and rles:
            seen = zip(rles, classes, strict=True)
            return self.tracker._assign_colors(
                [_DetectedInstance(class_id, None, rle, None, FRAMES) for rle, class_id in seen]
            )
        return shades(self.class_colors, classes)


def things_of(prediction: Prediction) -> list[Segment]:
    """The segments of a panoptic map that are things."""
    return [segment for segment in prediction.segments if segment.isthing]
