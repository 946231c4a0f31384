"""Config keys that this project adds to those of Detectron2; rules.py says what they mean."""

from detectron2.config import CfgNode as CN


def add_efficientps_config(cfg: CN) -> None:
    """Add the keys of this project to ``cfg``; Detectron2's own keys are reused where one exists.

    Calling this twice is harmless.
    """
    # Keys that are "auto" in the config file or on the command line: a training chooses their
    # values from the training data.
    cfg.AUTO = []
    _add_model_keys(cfg)
    _add_training_keys(cfg)


def _add_model_keys(cfg: CN) -> None:
    cfg.MODEL.EFFICIENTNET = CN()
    cfg.MODEL.EFFICIENTNET.NAME = "tf_efficientnet_b5"
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    cfg.MODEL.EFFICIENTNET.NORM = "BN"
    cfg.MODEL.EFFICIENTNET.DROP_PATH = 0.0
    cfg.MODEL.EFFICIENTNET.ACTIVATE_STAGE0_PROJECTION = False

    cfg.MODEL.EFFICIENTPS = CN()
    cfg.MODEL.EFFICIENTPS.SEPARABLE_FPN = True
    cfg.MODEL.EFFICIENTPS.LINEAR_FPN = False
    # Set from the datasets and saved, so that a trained model can be built where its data are not.
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = []
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = []
    cfg.MODEL.EFFICIENTPS.INNER_NORM = False
    cfg.MODEL.EFFICIENTPS.CHANNELS_LAST = False

    cfg.MODEL.UPSNET = CN()
    cfg.MODEL.UPSNET.NUM_CONVS = 2
    cfg.MODEL.UPSNET.PANOPTIC_LOSS_WEIGHT = 0.5
    cfg.MODEL.UPSNET.ROI_LOSS_WEIGHT = 0.0
    cfg.MODEL.UPSNET.KEPT_BOXES = 0.7

    cfg.MODEL.LPSNET = CN()
    cfg.MODEL.LPSNET.NUM_CONVS = 4
    cfg.MODEL.LPSNET.CONV_DIM = 128
    cfg.MODEL.LPSNET.NORM = "GN"
    cfg.MODEL.LPSNET.BOX_LOSS_WEIGHT = 1.0
    cfg.MODEL.LPSNET.CENTERNESS_LOSS_WEIGHT = 1.0
    cfg.MODEL.LPSNET.JOIN_THRESH = 0.3

    cfg.MODEL.FPN.GLOBAL_CONTEXT = False
    cfg.MODEL.SEM_SEG_HEAD.HARD_PIXEL_FRACTION = 0.25
    cfg.MODEL.SEM_SEG_HEAD.HARD_PIXELS_PER = "image"

    cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD = "adaptive"
    cfg.MODEL.PANOPTIC_FPN.COMBINE.SEMANTIC_WEIGHT = 0.3
    cfg.MODEL.PANOPTIC_FPN.COMBINE.MASK_LOGIT_SCALE = 1.0
    cfg.MODEL.PANOPTIC_FPN.COMBINE.CONFINE_TO_BOX = True


def _add_training_keys(cfg: CN) -> None:
    cfg.OUTPUT_MIRROR = ""
    cfg.INPUT.SCALE_JITTER = (1.0, 1.0)
    cfg.INPUT.COLOR_JITTER = False
    cfg.INPUT.SHOWN_BANDS = (0, 1, 2)
    cfg.INPUT.TURN_SCANS = False
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.SOLVER.BACKBONE_LR_FACTOR = 1.0
    cfg.SOLVER.EMA_DECAY = 0.0
    cfg.SOLVER.GRADIENT_ACCUMULATION = 1
    cfg.SOLVER.ACTIVATION_CHECKPOINTING = False
    cfg.SOLVER.AMP.DTYPE = "float16"
    cfg.SOLVER.FREEZE_BN_ITER = 0
    cfg.SOLVER.CHECKPOINTS_KEPT = 0
    cfg.DATALOADER.DAMAGED_IMAGE_LIMIT = 10
    cfg.TEST.BEST_METRIC = "panoptic_seg/PQ"
    cfg.TEST.PATIENCE = 0
    cfg.TEST.LOSS_IMAGES = 50
    cfg.TEST.PICTURES = 0
    cfg.TEST.AUG.SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    cfg.TEST.SAVE_PANOPTIC = False
    cfg.TEST.STOCK_PANOPTIC_EVALUATOR = False
