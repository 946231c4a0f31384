"""Saved models of networks that were not trained, and find 100 objects."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from detectron2.modeling import build_model
from inference import calibrated

from efficientps_d2.checkpoint.saved_model import save_model
from efficientps_d2.data.coco_panoptic import set_classes

SPREAD = 20  # of scores, which random weights make nearly equal, so that rounding would order them


def save_untrained(cfg: CfgNode, folder: Path) -> None:
    """Save a network of random weights, whose norms fit images of random pixels.

    Args:
        cfg: of :mod:`peers`; thresholds of scores are changed.
        folder: to write.
    """
    torch.manual_seed(0)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.0
    cfg.TEST.DETECTIONS_PER_IMAGE = 100
    cfg.INPUT.MIN_SIZE_TEST = 0
    count, things = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS
    names = cfg.MODEL.EFFICIENTPS.CLASS_NAMES = [f"class {i}" for i in range(count)]
    image = torch.randint(0, 255, (3, 256, 512), dtype=torch.uint8)
    network = calibrated(build_model(cfg), [{"image": image}])
    rpn_head, predictor = network.proposal_generator.rpn_head, network.roi_heads.box_predictor
    for layer in (rpn_head.objectness_logits, predictor.cls_score):
        layer.weight.data *= SPREAD
    metadata = Metadata(name=folder.name)
    categories = [{"id": i, "name": n, "isthing": int(i in things)} for i, n in enumerate(names)]
    set_classes(metadata, categories)
    save_model(folder, network, cfg, metadata)
