"""Predictions of a perfect network and of a bad one, and their evaluation."""

import copy

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from panopticapi.utils import rgb2id
from PIL import Image

from efficientps_d2 import adaptive_panoptic_fusion
from efficientps_d2.data.classes import class_table
from efficientps_d2.data.dataset_mapper import PanopticDatasetMapper
from efficientps_d2.engine.trainer import Trainer


def perfect_outputs(record, thing_ids, num_classes, **options):
    """What a perfect network would put out, made from what the mapper trains on."""
    mapper = PanopticDatasetMapper(
        **{"augmentations": [], "image_format": "RGB", "thing_class_ids": thing_ids, **options}
    )
    sample = mapper(record)
    gt, sem_seg = sample["instances"], sample["sem_seg"]
    for i in (gt.gt_classes < 0).nonzero().flatten().tolist():  # groups are found, too
        class_id = int(sem_seg[gt.gt_masks.tensor[i]][0])
        gt.gt_classes[i] = thing_ids.index(class_id)
    stuff = next(i for i in range(num_classes) if i not in thing_ids)
    labels = torch.where(sem_seg == 255, stuff, sem_seg)  # what is void does not count
    logits = torch.nn.functional.one_hot(labels, num_classes).permute(2, 0, 1) * 20.0 - 10
    height, width = sem_seg.shape
    # Masks as large as the image over boxes as large as the image: exact to the pixel.
    side = max(height, width)
    masks = torch.full((len(gt), side, side), -10.0)
    masks[:, :height, :width] = gt.gt_masks.tensor.float() * 20 - 10
    instances = Instances(
        (height, width),
        pred_boxes=Boxes(torch.tensor([[0.0, 0, side, side]] * len(gt)).reshape(-1, 4)),
        scores=torch.ones(len(gt)),
        pred_classes=gt.gt_classes,
        pred_mask_logits=masks,
    )
    panoptic_seg = adaptive_panoptic_fusion(
        instances, logits, thing_class_ids=thing_ids, stuff_area_limit=0
    )
    instances.pred_boxes = gt.gt_boxes
    instances.pred_masks = gt.gt_masks.tensor
    instances.pred_classes = torch.tensor(thing_ids)[gt.gt_classes]
    return {"sem_seg": logits, "instances": instances, "panoptic_seg": panoptic_seg}


def evaluate_perfect_predictions(cfg, name):
    table = class_table(MetadataCatalog.get(name))
    evaluator = Trainer.build_evaluator(cfg, name)
    evaluator.reset()
    options = {"image_format": cfg.INPUT.FORMAT, "pixel_mean": cfg.MODEL.PIXEL_MEAN}
    for record in DatasetCatalog.get(name):
        outputs = perfect_outputs(record, table.thing_ids, len(table.names), **options)
        evaluator.process([record], [outputs])
    return evaluator.evaluate()


def imperfect_outputs(records, num_classes, seed=0):
    """The ground truth with some segments lost, some of another class, and shifted."""
    rng = np.random.default_rng(seed)
    outputs = []
    for record in records:
        gt = rgb2id(np.asarray(Image.open(record["pan_seg_file_name"])))
        pan_seg, segments = np.zeros(gt.shape, np.int32), []
        for i, segment in enumerate(record["segments_info"], 1):
            mask = np.roll(gt == segment["id"], rng.integers(0, 9), axis=1) & (pan_seg == 0)
            if rng.random() < 0.2 or not mask.any():
                continue
            pan_seg[mask] = i
            class_id = segment["category_id"]
            class_id = int(rng.integers(num_classes)) if rng.random() < 0.2 else class_id
            segments.append({"id": i, "category_id": class_id, "isthing": True})
        outputs.append({"panoptic_seg": (torch.from_numpy(pan_seg), segments)})
    return outputs


def feed(evaluator, records, outputs):
    evaluator.reset()
    for record, output in zip(records, outputs, strict=True):
        evaluator.process([copy.deepcopy(record)], [copy.deepcopy(output)])


def same(a, b) -> bool:
    """Up to what rounding does to single pixels."""
    return np.allclose(a.instances.scores, b.instances.scores, atol=1e-4) and (
        (a.sem_seg == b.sem_seg).mean() > 0.99
    )
