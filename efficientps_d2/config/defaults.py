"""Config keys that this project adds to those of Detectron2."""

from detectron2.config import CfgNode as CN


def add_efficientps_config(cfg: CN) -> None:
    """Add the keys of this project to ``cfg``; Detectron2's own keys are reused where one exists.

    Existing fusion keys of Detectron2: ``MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH``,
    ``.OVERLAP_THRESH`` and ``.STUFF_AREA_LIMIT``. Calling this twice is harmless.
    """
    # Keys that are "auto" in the config file or on the command line: a training chooses their
    # values from the training data.
    cfg.AUTO = []
    _add_model_keys(cfg)
    _add_training_keys(cfg)


def _add_model_keys(cfg: CN) -> None:
    # Backbone: a timm name. "tf_efficientnet_b0".."b7" give the paper's variant (no squeeze-excite,
    # LeakyReLU), "tf_efficientnet_lite0".."lite4" EfficientNet-Lite, others timm's own features.
    cfg.MODEL.EFFICIENTNET = CN()
    cfg.MODEL.EFFICIENTNET.NAME = "tf_efficientnet_b5"
    # ImageNet weights: "timm" (download), "lite" (PyPI packages), a file, or "" for none.
    # Ignored when MODEL.WEIGHTS is set or a run is resumed.
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    cfg.MODEL.EFFICIENTNET.NORM = "BN"  # "BN", "SyncBN" or "FrozenBN"
    cfg.MODEL.EFFICIENTNET.DROP_PATH = 0.0
    # The authors' code also activates the projections of stage 0.
    cfg.MODEL.EFFICIENTNET.ACTIVATE_STAGE0_PROJECTION = False

    cfg.MODEL.EFFICIENTPS = CN()
    # Output convolutions of the 2-way FPN: depthwise-separable (paper) or full 3x3 (authors' code).
    cfg.MODEL.EFFICIENTPS.SEPARABLE_FPN = True
    # Contiguous id of each thing class. Set from the datasets and saved with the config, so that a
    # trained model can be built where its data are not.
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = []
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = []  # of all classes, by contiguous id; also set and saved
    # Norm and activation also between depthwise and pointwise convolution (authors' code).
    cfg.MODEL.EFFICIENTPS.INNER_NORM = False
    # Memory format of convolutions: the same results; the configs for the CPU use it.
    cfg.MODEL.EFFICIENTPS.CHANNELS_LAST = False

    # The semantic loss averages over the hardest pixels of each "image" (paper) or of the whole
    # "batch" (authors' code).
    cfg.MODEL.SEM_SEG_HEAD.HARD_PIXEL_FRACTION = 0.25
    cfg.MODEL.SEM_SEG_HEAD.HARD_PIXELS_PER = "image"

    # "adaptive" is the paper's fusion, "heuristic" the merge of Panoptic FPN; "log_odds" adds mask
    # logits and, with a weight, the semantic log-odds of a thing.
    cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD = "adaptive"
    cfg.MODEL.PANOPTIC_FPN.COMBINE.SEMANTIC_WEIGHT = 0.3
    cfg.MODEL.PANOPTIC_FPN.COMBINE.MASK_LOGIT_SCALE = 1.0  # the authors' code multiplies by 4
    # False restores the published behaviour, where an instance can win pixels far from its box.
    cfg.MODEL.PANOPTIC_FPN.COMBINE.CONFINE_TO_BOX = True


def _add_training_keys(cfg: CN) -> None:
    # Scale factors drawn uniformly and applied on top of the MIN_SIZE_TRAIN resize.
    cfg.INPUT.SCALE_JITTER = (1.0, 1.0)
    cfg.INPUT.COLOR_JITTER = False  # SSD-style brightness, contrast, saturation and hue
    cfg.SOLVER.OPTIMIZER = "SGD"  # or "AdamW"
    # Of the learning rate, for the pretrained network below the FPN.
    cfg.SOLVER.BACKBONE_LR_FACTOR = 1.0
    # A moving average of the weights is evaluated and saved; share that a step keeps, 0 for none.
    cfg.SOLVER.EMA_DECAY = 0.0
    # From this iteration on, batch norms keep their statistics, as in the last stage of the paper's
    # training; 0 for never.
    cfg.SOLVER.FREEZE_BN_ITER = 0
    # Of those of SOLVER.CHECKPOINT_PERIOD, the newest that are kept beside the best and the last;
    # 0 for all.
    cfg.SOLVER.CHECKPOINTS_KEPT = 0
    # Unreadable training images that are skipped before training stops, for each loader process.
    cfg.DATALOADER.DAMAGED_IMAGE_LIMIT = 10
    # What TEST.EVAL_PERIOD maximises: its best weights are kept in model_best.pth and saved as the
    # model. Training stops after PATIENCE evaluations without a better value; 0 for never.
    cfg.TEST.BEST_METRIC = "panoptic_seg/PQ"
    cfg.TEST.PATIENCE = 0
    # Images of DATASETS.TEST on which these evaluations also compute the losses; 0 for none.
    cfg.TEST.LOSS_IMAGES = 50
    # Images that an evaluation draws with ground truth and prediction, in OUTPUT_DIR/pictures.
    cfg.TEST.PICTURES = 0
    # With TEST.AUG.ENABLED, an evaluation also looks at every image at these factors of its size
    # and, with TEST.AUG.FLIP, mirrored, for results that end in _TTA; MIN_SIZES there is not used.
    cfg.TEST.AUG.SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    cfg.TEST.SAVE_PANOPTIC = False  # write predictions to OUTPUT_DIR/inference in COCO's format
    # Panoptic quality by Detectron2's evaluator, which collects all predictions before it scores.
    cfg.TEST.STOCK_PANOPTIC_EVALUATOR = False
