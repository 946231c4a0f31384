"""mIoU of a panoptic dataset: Detectron2's evaluator behind an adapter."""

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator

from efficientps_d2.data.coco_panoptic import IGNORE_LABEL, true_segment_ids
from efficientps_d2.data.datasets.register import dataset_metadata


class PanopticSemSegEvaluator(SemSegEvaluator):
    """mIoU against the semantic labels that the panoptic ground truth implies."""

    def __init__(self, name: str, output_folder: str):
        records = DatasetCatalog.get(name)
        metadata = dataset_metadata(name)
        # SemSegEvaluator looks for its ground truth under a key that panoptic records lack.
        derived = f"{name}_sem_seg"
        if derived in DatasetCatalog.list():  # of an earlier evaluation, perhaps of other files
            DatasetCatalog.remove(derived)
            MetadataCatalog.remove(derived)
        DatasetCatalog.register(
            derived,
            lambda: [
                {"file_name": r["file_name"], "sem_seg_file_name": r["pan_seg_file_name"]}
                for r in records
            ],
        )
        MetadataCatalog.get(derived).set(
            stuff_classes=metadata.stuff_classes, ignore_label=metadata.ignore_label
        )
        super().__init__(
            derived, output_dir=output_folder, sem_seg_loading_fn=self._load_ground_truth
        )
        self._compute_boundary_iou = False  # slow, and never asked for

    def process(self, inputs, outputs):
        """As in :class:`SemSegEvaluator`, which asks for the ground truth by its file name."""
        self._records = {record["pan_seg_file_name"]: record for record in inputs}
        super().process(inputs, outputs)

    def _load_ground_truth(self, pan_seg_file: str, dtype=int) -> np.ndarray:
        record = self._records[pan_seg_file]
        pan_seg = true_segment_ids(record)
        sem_seg = np.full(pan_seg.shape, IGNORE_LABEL, dtype=dtype)
        for segment in record["segments_info"]:
            sem_seg[pan_seg == segment["id"]] = segment["category_id"]
        return sem_seg

    def encode_json_sem_seg(self, sem_seg, input_file_name):
        """Run-length files of every prediction are of no use here and slow."""
        return []
