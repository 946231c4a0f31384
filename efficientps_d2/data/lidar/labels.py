"""Labels of points: from those of a range image, and as files of SemanticKITTI hold them."""

import numpy as np

from efficientps_d2.data.lidar.back_to_points import labels_of_points
from efficientps_d2.data.lidar.projection import project


def point_labels(
    points: np.ndarray,
    pan_seg: np.ndarray,
    segments: list[dict],
    raw_ids: list[int],
    is_thing: list[bool],
) -> np.ndarray:
    """(N,) uint32 labels of a scan, of the panoptic result of its range image.

    Args:
        points: (N, 4) of the scan.
        pan_seg: (64, 2048) segment ids, 0 for none.
        segments: ``id`` and ``category_id`` (contiguous) of each.
        raw_ids: of each class, which are written.
        is_thing: of each class; stuff gets the number 0.
    """
    of_points = labels_of_points(pan_seg.astype(np.int64), project(points))
    table = np.zeros(max([int(of_points.max(initial=0)), *(s["id"] for s in segments)]) + 1, "<u4")
    for number, segment in enumerate(segments, 1):
        class_id = segment["category_id"]
        table[segment["id"]] = raw_ids[class_id] | (number << 16 if is_thing[class_id] else 0)
    return table[of_points]
