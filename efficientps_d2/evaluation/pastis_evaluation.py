"""PQ as the publishers of PASTIS compute it, which treats void otherwise than COCO's metric."""

import logging
from collections import OrderedDict
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from efficientps_d2.data.classes import class_table
from efficientps_d2.data.coco_panoptic import true_segment_ids
from efficientps_d2.data.images import read_ids

logger = logging.getLogger(__name__)

MATCH = 0.5  # least IoU, not included


class PastisSums:
    """Sums over images for the metric of PASTIS.

    A predicted object that matches a void object is taken away as a whole, and of the others what
    lies on void; COCO's metric leaves out those that lie mostly on void. Of stuff nothing is
    scored, and groups there are none.
    """

    def __init__(self, num_classes: int):
        # Of each class: sum of IoU of the matches, number of matches, of predictions, of truths.
        self.sums = np.zeros((num_classes, 4))

    def __iadd__(self, other: "PastisSums") -> "PastisSums":
        self.sums += other.sums
        return self

    def add_image(
        self,
        gt: np.ndarray,
        true_class: dict[int, int],
        pan_seg: np.ndarray,
        predicted_class: dict[int, int],
        void: np.ndarray,
    ) -> None:
        """
        Args:
            gt, pan_seg: (H, W) segment ids, 0 where there is none.
            true_class, predicted_class: the class of each segment that is scored.
            void: (H, W) numbers of void objects, 0 elsewhere.
        """
        scored = np.isin(pan_seg, list(predicted_class))
        predicted = np.where(scored, pan_seg, 0)
        for _, prediction in _matches(void, predicted):
            predicted[predicted == prediction] = 0
        predicted[void > 0] = 0
        truths = np.where(np.isin(gt, list(true_class)), gt, 0)
        for segments, column, classes in (
            (truths, 3, true_class),
            (predicted, 2, predicted_class),
        ):
            for id_ in np.unique(segments[segments > 0]).tolist():
                self.sums[classes[id_], column] += 1
        for (truth, prediction), iou in _matches(truths, predicted).items():
            if true_class[truth] == predicted_class[prediction]:
                self.sums[true_class[truth], :2] += iou, 1

    def means(self) -> dict[str, float]:
        """PQ, SQ and RQ in percent: means over the classes that occur; NaN if none does."""
        iou, matched, predicted, true = self.sums.T
        occurs = predicted + true > 0
        if not occurs.any():
            return dict.fromkeys(("PQ", "SQ", "RQ"), float("nan"))
        sq = (iou / np.maximum(matched, 1))[occurs]
        rq = (2 * matched / np.maximum(predicted + true, 1))[occurs]
        return {"PQ": 100 * (sq * rq).mean(), "SQ": 100 * sq.mean(), "RQ": 100 * rq.mean()}


def _matches(a: np.ndarray, b: np.ndarray) -> dict[tuple[int, int], float]:
    """IoU of each pair of ids, none of them 0, that is above a half."""
    pairs, areas = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_counts=True)
    of_a, of_b = (
        dict(zip(*(x.tolist() for x in np.unique(ids, return_counts=True)), strict=True))
        for ids in (a, b)
    )
    found = {}
    for i, j, area in zip(*pairs.tolist(), areas.tolist(), strict=True):
        iou = area / (of_a[i] + of_b[j] - area)
        if i and j and iou > MATCH:
            found[i, j] = iou
    return found


class PastisEvaluator(DatasetEvaluator):
    """PQ, SQ and RQ of things, with void objects from ``metadata.void_root``."""

    def __init__(self, name: str):
        self.metadata = MetadataCatalog.get(name)
        self.names, self.thing_ids = class_table(self.metadata)
        self.reset()

    def reset(self):
        """Forget all images."""
        self.sums = PastisSums(len(self.names))

    def process(self, inputs, outputs):
        """As of :class:`PanopticEvaluator`."""
        for record, output in zip(inputs, outputs, strict=True):
            pan_seg, segments = output["panoptic_seg"]
            void = Path(self.metadata.void_root, Path(record["pan_seg_file_name"]).name)
            self.sums.add_image(
                true_segment_ids(record),
                self._things(record["segments_info"]),
                pan_seg.cpu().numpy(),
                self._things(segments),
                read_ids(void),
            )

    def _things(self, segments: list[dict]) -> dict[int, int]:
        things = set(self.thing_ids)
        return {s["id"]: s["category_id"] for s in segments if s["category_id"] in things}

    def evaluate(self):
        """
        Returns:
            ``{"pastis": {"PQ", "SQ", "RQ"}}`` in the main process, None in the others.
        """
        parts = comm.gather(self.sums)
        if not comm.is_main_process():
            return None
        sums = PastisSums(len(self.names))
        for part in parts:
            sums += part
        return OrderedDict(pastis=sums.means())
