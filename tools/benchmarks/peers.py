"""Untrained networks of other papers beside those of this project, for Cityscapes' 19 classes."""

from pathlib import Path

import detectron2
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.projects.panoptic_deeplab import add_panoptic_deeplab_config

from efficientps_d2.config.defaults import add_efficientps_config
from efficientps_d2.config.loading import get_config

CLASSES, THINGS = 19, 8
DETECTRON2 = Path(detectron2.__file__).parent / "model_zoo" / "configs"
# Detectron2's panoptic_deeplab_R_52_os16_mg124, which is not in the installed package.
PANOPTIC_DEEPLAB = {
    "META_ARCHITECTURE": "PanopticDeepLab",
    "BACKBONE.NAME": "build_resnet_deeplab_backbone",
    "BACKBONE.FREEZE_AT": 0,
    "RESNETS.DEPTH": 50,
    "RESNETS.NORM": "BN",
    "RESNETS.STEM_TYPE": "deeplab",
    "RESNETS.STEM_OUT_CHANNELS": 128,
    "RESNETS.STRIDE_IN_1X1": False,
    "RESNETS.RES5_DILATION": 2,
    "RESNETS.RES5_MULTI_GRID": [1, 2, 4],
    "RESNETS.OUT_FEATURES": ["res2", "res3", "res5"],
    "SEM_SEG_HEAD.NAME": "PanopticDeepLabSemSegHead",
    "SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res5"],
    "SEM_SEG_HEAD.PROJECT_FEATURES": ["res2", "res3"],
    "SEM_SEG_HEAD.PROJECT_CHANNELS": [32, 64],
    "SEM_SEG_HEAD.ASPP_CHANNELS": 256,
    "SEM_SEG_HEAD.CONVS_DIM": 256,
    "SEM_SEG_HEAD.LOSS_TYPE": "hard_pixel_mining",
    "SEM_SEG_HEAD.NORM": "BN",
    "INS_EMBED_HEAD.NORM": "BN",
}


def of_this_project(name: str, classes: int = CLASSES) -> CfgNode:
    """A config of this project that needs no dataset; the last of the classes are things."""
    cfg = get_config(name)
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = list(range(classes - THINGS, classes))
    return _with_classes(cfg, classes)


def panoptic_fpn() -> CfgNode:
    """Detectron2's Panoptic FPN with ResNet-50."""
    cfg = get_cfg()
    add_efficientps_config(cfg)  # for the trainer of this project
    cfg.merge_from_file(str(DETECTRON2 / "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml"))
    return _with_classes(cfg)


def panoptic_deeplab() -> CfgNode:
    """Detectron2's Panoptic-DeepLab with ResNet-52."""
    MetadataCatalog.get("peers").set(
        thing_dataset_id_to_contiguous_id={i: i for i in range(CLASSES - THINGS, CLASSES)},
        label_divisor=1000,
    )
    cfg = get_cfg()
    add_efficientps_config(cfg)
    add_panoptic_deeplab_config(cfg)
    cfg.DATASETS.TRAIN = ("peers",)  # it asks for the classes of things
    cfg.merge_from_list(
        [x for key, value in PANOPTIC_DEEPLAB.items() for x in (f"MODEL.{key}", value)]
    )
    return _with_classes(cfg)


def _with_classes(cfg: CfgNode, classes: int = CLASSES) -> CfgNode:
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES = classes, THINGS
    cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = "", "cpu"
    return cfg
