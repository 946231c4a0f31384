"""The evaluators of a panoptic dataset."""

import os

from detectron2.config import CfgNode
from detectron2.evaluation import COCOPanopticEvaluator, DatasetEvaluator, DatasetEvaluators

from efficientps_d2.config.keys import has_semantic_head
from efficientps_d2.data.bands import shown_bands
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2.evaluation.cityscapes_evaluation import (
    CityscapesAPEvaluator,
    CityscapesIoUEvaluator,
    redirect_cityscapesscripts,
)
from efficientps_d2.evaluation.image_writer import ImageWriter
from efficientps_d2.evaluation.instance_evaluation import ThingsCOCOEvaluator
from efficientps_d2.evaluation.panoptic_evaluation import PanopticEvaluator
from efficientps_d2.evaluation.pastis_evaluation import PastisEvaluator
from efficientps_d2.evaluation.point_evaluation import PointEvaluator
from efficientps_d2.evaluation.sem_seg_evaluation import PanopticSemSegEvaluator

ANY_NUMBER = 10**6  # of detections in an image


def build_panoptic_evaluator(cfg: CfgNode, name: str, output_folder: str) -> DatasetEvaluators:
    """PQ, instance AP and mIoU of one dataset in one pass over its images.

    Cityscapes' own mask AP and mIoU where the dataset is in the Cityscapes layout; otherwise COCO
    AP, from the instance JSON or, without one, from the panoptic ground truth, and mIoU of the
    panoptic ground truth. Box AP is COCO's. A network without a semantic head has no mIoU.
    """
    metadata = dataset_metadata(name)
    evaluators: list[DatasetEvaluator] = []
    if cfg.TEST.PICTURES > 0:
        # First, because Detectron2's COCOPanopticEvaluator changes the segments in place.
        folder = os.path.join(cfg.OUTPUT_DIR, "pictures")
        evaluators.append(ImageWriter(name, folder, cfg.TEST.PICTURES, shown_bands(cfg.INPUT)))
    if metadata.evaluator_type == "cityscapes_panoptic_seg":
        redirect_cityscapesscripts()
        evaluators.append(CityscapesAPEvaluator(name, output_folder))
        if has_semantic_head(cfg):
            evaluators.append(CityscapesIoUEvaluator(name, output_folder))
        tasks = ("bbox",)
    else:
        if has_semantic_head(cfg):
            evaluators.append(PanopticSemSegEvaluator(name, output_folder))
        tasks = ("bbox", "segm")
    if metadata.get("void_root"):
        evaluators.append(PastisEvaluator(name))
    if metadata.get("point_labels_root"):
        evaluators.append(PointEvaluator(name))
    limit = cfg.TEST.DETECTIONS_PER_IMAGE
    limit = limit if limit >= 0 else ANY_NUMBER
    max_dets = limit if limit > 100 else None  # COCO's own limit is 100
    evaluators.append(ThingsCOCOEvaluator(name, output_folder, tasks, max_dets_per_image=max_dets))
    if cfg.TEST.STOCK_PANOPTIC_EVALUATOR:
        evaluators.append(COCOPanopticEvaluator(name, output_folder))
    else:
        evaluators.append(PanopticEvaluator(name, output_folder, cfg.TEST.SAVE_PANOPTIC))
    return DatasetEvaluators(evaluators)
