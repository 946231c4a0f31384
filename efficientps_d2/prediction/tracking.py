"""Ids of objects that last through a video, also while something hides them for some frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.structures import Instances

from efficientps_d2.prediction.colors import objects_of
from efficientps_d2.prediction.result import Prediction
from efficientps_d2.utils.instance_colors import best_pairs

MEMORY = 30  # frames that a hidden object is remembered
LEAST_IOU = 0.5  # of the masks of one object in two frames
LEAST_INSIDE = 0.5  # of a mask that appears where a hidden object should be
MARGIN = 0.4  # of the size of that place, on each side
COVERED = 0.93  # of its expected length: what is shorter is partly hidden
INERTIA = 0.5  # of the motion, against that of the last frame


@dataclass
class Track:
    """An object: where it is with all that is hidden of it, and how it moves."""

    id: int
    class_id: int
    rle: dict  # its mask when it was last seen
    low: np.ndarray  # (2,) x and y of its box, pixels
    high: np.ndarray
    motion: np.ndarray  # (2,) pixels in a frame
    hidden: int = 0  # frames

    def move(self) -> None:
        """To where it should be in the next frame."""
        self.low, self.high = self.low + self.motion, self.high + self.motion
        self.hidden += 1

    def see(self, rle: dict) -> None:
        """Correct it by the mask of this frame.

        A side that something hides does not show the motion: of two sides, the one that is nearer
        to where it should be counts. While less is seen of the object, its box keeps its size.
        """
        low, high = _box(rle)
        errors = np.stack([low - self.low, high - self.high])
        error = np.take_along_axis(errors, np.abs(errors).argmin(axis=0)[None], axis=0)[0]
        covered = high - low < COVERED * (self.high - self.low)
        self.low = np.where(covered, self.low + error, low)
        self.high = np.where(covered, self.high + error, high)
        self.motion = self.motion + (1 - INERTIA) * error / self.hidden
        self.rle, self.hidden = rle, 0


class Tracker:
    """Gives the objects of frame after frame their ids.

    Masks of one class that overlap in two frames are one object. So is what appears where an
    object that has not been seen for some frames should be by now.
    """

    def __init__(self, num_classes: int):
        """
        Args:
            num_classes: ids up to this are those of stuff, see :meth:`follow`.
        """
        self.num_classes, self.count, self.tracks = num_classes, 0, []
        self.others: Tracker | None = None

    def __call__(self, rles: Sequence[dict], classes: Sequence[int]) -> list[int]:
        """Ids of the objects of the next frame, from 1.

        Args:
            rles: run-length codes of their masks.
            classes: of each.
        """
        for track in self.tracks:
            track.move()
        found: dict[int, Track] = {}
        recent = [track for track in self.tracks if track.hidden == 1]
        self._match(rles, classes, recent, found, _ious, LEAST_IOU)
        self._match(rles, classes, self.tracks, found, _insides, LEAST_INSIDE)
        for i, (rle, class_id) in enumerate(zip(rles, classes, strict=True)):
            if i in found:
                found[i].see(rle)
            else:
                self.count += 1
                found[i] = Track(self.count, class_id, rle, *_box(rle), np.zeros(2))
                self.tracks.append(found[i])
        self.tracks = [track for track in self.tracks if track.hidden <= MEMORY]
        return [found[i].id for i in range(len(rles))]

    def _match(self, rles, classes, tracks: list[Track], found: dict, likeness, least) -> None:
        """Add the most alike pairs of what is left of objects and tracks."""
        taken = {track.id for track in found.values()}
        tracks = [track for track in tracks if track.id not in taken]
        left = [i for i in range(len(rles)) if i not in found]
        if not tracks or not left:
            return
        alike = likeness([rles[i] for i in left], tracks)
        of_tracks = [track.class_id for track in tracks]
        alike[np.not_equal.outer([classes[i] for i in left], of_tracks)] = 0
        for row, column in best_pairs(alike, least):
            found[left[row]] = tracks[column]

    def follow(self, prediction: Prediction, instances: bool = True) -> Prediction:
        """A prediction of the next frame, with ids that last.

        Those of stuff are the class id + 1 in every frame, those of things are larger.

        Args:
            prediction: its ``panoptic_seg`` and ``segments`` get other ids.
            instances: whether its ``instances`` get ``track_ids``, (N,) int64, too; those of
                instances that are in no panoptic map are negative.
        """
        rles, classes, same = objects_of(prediction, instances)
        things = sum(segment.isthing for segment in prediction.segments)
        ids = [self.num_classes + id_ for id_ in self(rles[:things], classes[:things])]
        if instances:  # those that are in no panoptic map do not change the ids of those that are
            self.others = self.others or Tracker(0)
            ids += [-id_ for id_ in self.others(rles[things:], classes[things:])]
        of_things = iter(ids)
        new_ids = [next(of_things) if s.isthing else s.category_id + 1 for s in prediction.segments]
        table = np.zeros(prediction.panoptic_seg.max() + 1, dtype=np.int32)
        table[[segment.id for segment in prediction.segments]] = new_ids
        segments = [
            replace(segment, id=id_)
            for segment, id_ in zip(prediction.segments, new_ids, strict=True)
        ]
        detections = prediction.detections
        if instances and detections is not None:
            found = prediction.instances
            detections = Instances(found.image_size, **found.get_fields())
            detections.track_ids = torch.tensor([ids[i] for i in same], dtype=torch.int64)
        return replace(
            prediction,
            panoptic_seg=table[prediction.panoptic_seg],
            segments=segments,
            detections=detections,
        )


def _box(rle: dict) -> tuple[np.ndarray, np.ndarray]:
    x, y, width, height = mask_util.toBbox(rle)
    return np.array([x, y]), np.array([x + width, y + height])


def _ious(rles: list[dict], tracks: list[Track]) -> np.ndarray:
    return mask_util.iou(rles, [track.rle for track in tracks], [0] * len(tracks))


def _insides(rles: list[dict], tracks: list[Track]) -> np.ndarray:
    """Shares of the masks that lie where the tracks should be by now."""
    height, width = rles[0]["size"]
    sizes = np.array([track.high - track.low for track in tracks])
    corners = np.array([track.low for track in tracks]) - MARGIN * sizes
    boxes = np.concatenate([corners, (1 + 2 * MARGIN) * sizes], axis=1)
    boxes = mask_util.frPyObjects(boxes, height, width)
    return mask_util.iou(rles, boxes, [1] * len(tracks))  # of a "crowd" the share of the other
