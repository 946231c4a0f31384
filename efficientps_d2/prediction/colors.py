"""Colours of instances: the same in all layers of an image, and in all frames of a video."""

from itertools import count

import numpy as np
from detectron2.utils.colormap import colormap

from efficientps_d2.prediction.result import Prediction
from efficientps_d2.utils.instance_colors import encode, twins
from efficientps_d2_runtime.colors import shades
from efficientps_d2_runtime.result import Segment

PALETTE = colormap(rgb=True, maximum=1)


def image_colors(prediction: Prediction, metadata, instances: bool = True) -> tuple[list, list]:
    """RGB colours, from 0 to 1, of the things of the panoptic map and of the instances.

    They are close to the colours of their classes.

    Args:
        prediction: of an image.
        metadata: colours of the classes.
        instances: whether they are wanted, too; it takes a mask of each.
    """
    _, classes, same = objects_of(prediction, instances)
    colors = shades(metadata.stuff_colors, classes)
    return colors[: len(things_of(prediction))], [colors[i] for i in same]


def frame_colors(prediction: Prediction, instances: bool = True) -> tuple[list, list]:
    """As :func:`image_colors`, but any colours, which stay from frame to frame.

    Args:
        prediction: of a frame, from ``Tracker.follow``.
        instances: as there.
    """
    ids = [segment.id for segment in things_of(prediction)]
    others = prediction.instances.track_ids.tolist() if instances else []
    return _of_ids(ids), _of_ids(others)


def objects_of(prediction: Prediction, instances: bool) -> tuple[list[dict], list[int], list[int]]:
    """The things of the panoptic map, and then the instances that are none of them.

    Returns:
        Run-length codes of the masks of these objects, their classes, and of each instance, if
        they are asked for, which object it is.
    """
    pan_seg, segments = prediction.panoptic_seg, things_of(prediction)
    classes = [segment.category_id for segment in segments]
    rles = [encode(pan_seg == segment.id) for segment in segments]
    if not instances or prediction.instances is None:
        return rles, classes, []
    instance_classes = prediction.instances.pred_classes.tolist()
    instance_rles = [encode(mask) for mask in np.asarray(prediction.instances.pred_masks)]
    found = twins(instance_rles, instance_classes, rles, classes)
    alone = [i for i, twin in enumerate(found) if twin is None]
    new = count(len(segments))
    same = [next(new) if twin is None else twin for twin in found]
    rles += [instance_rles[i] for i in alone]
    return rles, classes + [instance_classes[i] for i in alone], same


def things_of(prediction: Prediction) -> list[Segment]:
    """The segments of a panoptic map that are things."""
    return [segment for segment in prediction.segments if segment.isthing]


def _of_ids(ids: list[int]) -> list[np.ndarray]:
    return [PALETTE[id_ % len(PALETTE)] for id_ in ids]
