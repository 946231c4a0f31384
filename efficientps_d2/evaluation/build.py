"""The stock evaluators for every panoptic dataset, behind adapters that re-index classes."""

import json
import logging
import os

import numpy as np
import pycocotools.mask as mask_util
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import (
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    SemSegEvaluator,
)
from detectron2.structures import Instances
from detectron2.utils import comm
from tqdm import tqdm

from efficientps_d2.data.classes import class_table
from efficientps_d2.data.coco_panoptic import IGNORE_LABEL, read_segment_ids, true_segment_ids
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2.evaluation.cityscapes_evaluation import (
    CityscapesAPEvaluator,
    CityscapesIoUEvaluator,
    redirect_cityscapesscripts,
)
from efficientps_d2.evaluation.image_writer import ImageWriter
from efficientps_d2.evaluation.panoptic_evaluation import PanopticEvaluator
from efficientps_d2.utils.files import replacing_file

logger = logging.getLogger(__name__)


def build_panoptic_evaluator(cfg: CfgNode, name: str, output_folder: str) -> DatasetEvaluators:
    """PQ, instance AP and mIoU of one dataset in one pass over its images.

    Cityscapes' own mask AP and mIoU where the dataset is in the Cityscapes layout; otherwise COCO
    AP, from the instance JSON or, without one, from the panoptic ground truth, and mIoU of the
    panoptic ground truth. Box AP is COCO's.
    """
    metadata = dataset_metadata(name)
    evaluators: list[DatasetEvaluator] = []
    if cfg.TEST.PICTURES > 0:
        # First, because Detectron2's COCOPanopticEvaluator changes the segments in place.
        folder = os.path.join(cfg.OUTPUT_DIR, "pictures")
        evaluators.append(ImageWriter(name, folder, cfg.TEST.PICTURES))
    if metadata.evaluator_type == "cityscapes_panoptic_seg":
        redirect_cityscapesscripts()
        evaluators.append(CityscapesAPEvaluator(name))
        evaluators.append(CityscapesIoUEvaluator(name))
        tasks = ("bbox",)
    else:
        evaluators.append(PanopticSemSegEvaluator(name, output_folder))
        tasks = ("bbox", "segm")
    limit = cfg.TEST.DETECTIONS_PER_IMAGE  # COCO's own is 100
    max_dets = limit if limit > 100 else None
    evaluators.append(ThingsCOCOEvaluator(name, output_folder, tasks, max_dets_per_image=max_dets))
    if cfg.TEST.STOCK_PANOPTIC_EVALUATOR:
        evaluators.append(COCOPanopticEvaluator(name, output_folder))
    else:
        evaluators.append(PanopticEvaluator(name, output_folder, cfg.TEST.SAVE_PANOPTIC))
    return DatasetEvaluators(evaluators)


class ThingsCOCOEvaluator(COCOEvaluator):
    """COCO AP of the things; COCOEvaluator itself needs metadata of things only.

    Uses the instance JSON of the dataset (metadata ``json_file``) if it exists, otherwise writes
    one from the panoptic ground truth to ``output_folder``.
    """

    def __init__(self, name: str, output_folder: str, tasks=("bbox", "segm"), **kwargs):
        metadata = dataset_metadata(name)
        json_file = metadata.get("json_file")
        if not (json_file and os.path.isfile(json_file)):
            json_file = os.path.join(output_folder, f"{name}_instances.json")
            if comm.is_main_process():
                os.makedirs(output_folder, exist_ok=True)
                write_instance_json(name, json_file)
            comm.synchronize()
        names, thing_ids = class_table(metadata)
        self.to_things = {id_: i for i, id_ in enumerate(thing_ids)}
        contiguous_to_dataset = {
            v: k for k, v in metadata.thing_dataset_id_to_contiguous_id.items()
        }
        things_only = f"{name}_things"
        MetadataCatalog.pop(things_only, None)
        MetadataCatalog.get(things_only).set(
            json_file=json_file,
            thing_classes=[names[id_] for id_ in thing_ids],
            thing_dataset_id_to_contiguous_id={
                contiguous_to_dataset[id_]: i for i, id_ in enumerate(thing_ids)
            },
        )
        super().__init__(things_only, tasks, output_dir=output_folder, **kwargs)

    def process(self, inputs, outputs):
        """As in :class:`COCOEvaluator`; ``pred_classes`` are contiguous ids of all classes."""
        reindexed = []
        for output in outputs:
            instances = output["instances"]
            classes = instances.pred_classes
            instances = Instances(instances.image_size, **instances.get_fields())
            instances.pred_classes = classes.new_tensor(
                [self.to_things[c] for c in classes.tolist()]
            )
            reindexed.append({"instances": instances})
        super().process(inputs, reindexed)


def write_instance_json(name: str, json_file: str) -> None:
    """Write the things of a panoptic dataset as COCO instances with run-length masks."""
    metadata = dataset_metadata(name)
    names, thing_ids = class_table(metadata)
    to_dataset = {v: k for k, v in metadata.thing_dataset_id_to_contiguous_id.items()}
    images, annotations = [], []
    for record in tqdm(DatasetCatalog.get(name), desc="reading things", unit="image"):
        pan_seg = read_segment_ids(record["pan_seg_file_name"])
        height, width = pan_seg.shape
        images.append({"id": record["image_id"], "height": height, "width": width})
        for segment in record["segments_info"]:
            if segment["category_id"] not in to_dataset:
                continue
            mask = np.asfortranarray(pan_seg == segment["id"], dtype=np.uint8)
            rle = mask_util.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record["image_id"],
                    "category_id": to_dataset[segment["category_id"]],
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "area": float(mask_util.area(rle)),
                    "bbox": mask_util.toBbox(rle).tolist(),
                    "iscrowd": int(segment.get("iscrowd", 0)),
                }
            )
    categories = [{"id": to_dataset[id_], "name": names[id_]} for id_ in thing_ids]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    with replacing_file(json_file) as partial:
        partial.write_text(json.dumps(content))


class PanopticSemSegEvaluator(SemSegEvaluator):
    """mIoU against the semantic labels that the panoptic ground truth implies."""

    def __init__(self, name: str, output_folder: str):
        records = DatasetCatalog.get(name)
        metadata = dataset_metadata(name)
        # SemSegEvaluator looks for its ground truth under a key that panoptic records lack.
        derived = f"{name}_sem_seg"
        if derived not in DatasetCatalog.list():
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
