"""VPQ of panoptic videos (Kim et al. 2020): PQ of tubes, the segments of some frames in a row.

A tube is all that has one id in a window of k frames. Two tubes match if their IoU, over all these
frames, is above 0.5. VPQ is the mean of PQ over windows of several lengths; with k = 1 it is PQ.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from efficientps_d2.evaluation.overlaps import Overlaps
from efficientps_d2.evaluation.panoptic_metrics import (
    GROUPS,
    Compared,
    PanopticSums,
    class_metrics,
    mean_metrics,
)

WINDOWS = (1, 2, 4, 6)  # frames, as for VIPSeg


def add_video(sums: dict[int, PanopticSums], frames: Sequence[Compared]) -> None:
    """Add all windows of a video.

    Args:
        sums: by the number of frames of a window; a video with fewer frames has no such window.
        frames: of the video, in order.
    """
    for length, of_length in sums.items():
        for start in range(len(frames) - length + 1):
            of_length.add_quality(*_joined(frames[start : start + length]))


def video_class_metrics(sums: dict[int, PanopticSums], thing_ids: Sequence[int]) -> dict:
    """VPQ, and PQ of windows of each length as "VPQ_4", of each class: (K,) in percent.

    Lengths that no video has are left out of VPQ.
    """
    of_lengths = {f"VPQ_{k}": class_metrics(s, thing_ids)["PQ"] for k, s in sums.items()}
    found = [values for values in of_lengths.values() if not np.isnan(values).all()]
    return {"VPQ": np.mean(found or list(of_lengths.values()), axis=0), **of_lengths}


def video_mean_metrics(sums: dict[int, PanopticSums], thing_ids: Sequence[int]) -> dict[str, float]:
    """Their means over all classes, over things (``_th``) and over stuff (``_st``), in percent."""
    of_lengths = {k: mean_metrics(of_length, thing_ids) for k, of_length in sums.items()}
    means = {}
    for suffix in GROUPS:
        pq = {k: metrics[f"PQ{suffix}"] for k, metrics in of_lengths.items()}
        found = [value for value in pq.values() if not np.isnan(value)]
        means[f"VPQ{suffix}"] = sum(found) / len(found) if found else float("nan")
        means |= {f"VPQ_{k}{suffix}": value for k, value in pq.items()}
    return means


def _joined(frames: Sequence[Compared]) -> Compared:
    """Frames as if they were one image; a segment has the class of its first frame."""
    if len(frames) == 1:
        return frames[0]
    counts = Overlaps(Counter(), Counter(), Counter())
    true, predicted = {}, {}
    for frame in reversed(frames):
        for total, counted in zip(counts, frame.overlaps, strict=True):
            total.update(counted)
        true |= frame.true
        predicted |= frame.predicted
    return Compared(counts, true, predicted)
