"""SemanticKITTI's metric: range images go back to their points and are scored there."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from efficientps_d2.data.datasets.published import VOID, look_up
from efficientps_d2.data.datasets.semantic_kitti import CATEGORIES, RAW_IDS, TABLE, TITLE
from efficientps_d2.data.lidar.labels import point_labels
from efficientps_d2.data.lidar.scans import (
    LABEL_SUFFIX,
    read_point_labels,
    read_scan,
    require_labels,
)
from efficientps_d2.evaluation.point_metrics import LabelledPoints, PointSums

IS_THING = np.array([bool(category["isthing"]) for category in CATEGORIES])


def new_sums() -> PointSums:
    """Sums of no scan, for the 19 classes and none."""
    return PointSums(len(CATEGORIES) + 1)


def add_labels(sums: PointSums, truth: np.ndarray, found: np.ndarray, files: tuple) -> None:
    """Score (N,) uint32 labels of a scan.

    Args:
        sums: grows.
        truth, found: as files hold them.
        files: of both, for errors.

    Raises:
        InputError: if a label is none of the dataset.
    """
    both = []
    for labels, file in zip((truth, found), files, strict=True):
        classes = look_up((labels & 0xFFFF).astype(np.int64), TABLE, file, TITLE)
        both.append(LabelledPoints(classes - VOID, labels))  # 0 is none
    sums.add_scan(*both)


class PointEvaluator(DatasetEvaluator):
    """PQ and IoU of points, with their labels from ``metadata.point_labels_root``."""

    def __init__(self, name: str):
        self.root = Path(MetadataCatalog.get(name).point_labels_root)
        self.reset()

    def reset(self):
        """Forget all scans."""
        self.sums = new_sums()

    def process(self, inputs, outputs):
        """As of :class:`PanopticEvaluator`; ``file_name`` is that of the scan."""
        for record, output in zip(inputs, outputs, strict=True):
            pan_seg, segments = output["panoptic_seg"]
            scan = Path(record["file_name"])
            file = self.root / f"{scan.stem}{LABEL_SUFFIX}"
            points, truth = read_scan(scan), read_point_labels(file)
            require_labels(points, truth, scan, file)
            found = point_labels(points, pan_seg.cpu().numpy(), segments, RAW_IDS, IS_THING)
            add_labels(self.sums, truth, found, (file, scan))

    def evaluate(self):
        """
        Returns:
            ``{"points": {...}}`` in the main process, None in the others.
        """
        parts = comm.gather(self.sums)
        if not comm.is_main_process():
            return None
        sums = new_sums()
        for part in parts:
            sums += part
        return OrderedDict(points=sums.means(IS_THING))
