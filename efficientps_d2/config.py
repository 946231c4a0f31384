"""Config keys that EfficientPS adds to Detectron2's."""

import os

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from yaml import YAMLError

from .errors import InputError

# What Detectron2's config raises for wrong keys, values and files.
BAD_VALUE = (KeyError, ValueError, TypeError, AttributeError, AssertionError, SyntaxError)
BAD_VALUE += (OSError, YAMLError)


def add_efficientps_config(cfg: CN) -> None:
    """Add the keys of this project to ``cfg``; Detectron2's own keys are reused where one exists.

    Existing fusion keys of Detectron2: ``MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH``,
    ``.OVERLAP_THRESH`` and ``.STUFF_AREA_LIMIT``. Calling this twice is harmless.
    """
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
    # Contiguous id of each thing class. Set from the data sets and saved with the config, so that a
    # trained model can be built where its data are not.
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = []
    # Norm and activation also between depthwise and pointwise convolution (authors' code).
    cfg.MODEL.EFFICIENTPS.INNER_NORM = False
    # Memory format of convolutions: the same results; the configs for the CPU use it.
    cfg.MODEL.EFFICIENTPS.CHANNELS_LAST = False

    # The semantic loss averages over the hardest pixels of each "image" (paper) or of the whole
    # "batch" (authors' code).
    cfg.MODEL.SEM_SEG_HEAD.HARD_PIXEL_FRACTION = 0.25
    cfg.MODEL.SEM_SEG_HEAD.HARD_PIXELS_PER = "image"

    # "adaptive" is the fusion of EfficientPS, "heuristic" the merge of Panoptic FPN.
    cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD = "adaptive"
    cfg.MODEL.PANOPTIC_FPN.COMBINE.MASK_LOGIT_SCALE = 1.0  # the authors' code multiplies by 4
    # False restores the published behaviour, where an instance can win pixels far from its box.
    cfg.MODEL.PANOPTIC_FPN.COMBINE.CONFINE_TO_BOX = True

    # Scale factors drawn uniformly and applied on top of the MIN_SIZE_TRAIN resize.
    cfg.INPUT.SCALE_JITTER = (1.0, 1.0)
    cfg.INPUT.COLOR_JITTER = False  # SSD-style brightness, contrast, saturation and hue
    # From this iteration on, batch norms keep their statistics, as in the last stage of the paper's
    # training; 0 for never.
    cfg.SOLVER.FREEZE_BN_ITER = 0
    # Unreadable training images that are skipped before training stops, for each loader process.
    cfg.DATALOADER.DAMAGED_IMAGE_LIMIT = 10
    # Pictures of input, truth and prediction that an evaluation leaves in OUTPUT_DIR/pictures.
    cfg.TEST.PICTURES = 0


def load_config(config_file: str, overrides: list[str] | None = None) -> CN:
    """Read a config file of this project.

    Args:
        config_file: YAML file; ``_BASE_`` is relative to it.
        overrides: alternating keys and values, as on the command line.

    Raises:
        InputError: if the file is missing or a key or value is wrong; the message names it.
    """
    if not os.path.isfile(config_file):
        raise InputError(f'--config-file "{config_file}" does not exist; see the folder configs/.')
    cfg = get_cfg()
    add_efficientps_config(cfg)
    try:
        cfg.merge_from_file(config_file)
    except BAD_VALUE as error:
        raise InputError(f"{config_file}: {_sentence(error)}; correct that key.") from error
    overrides = overrides or []
    if len(overrides) % 2:
        raise InputError(
            f"Config overrides {' '.join(overrides)!r}: give pairs KEY VALUE, after all flags "
            "such as --resume."
        )
    try:
        cfg.merge_from_list(overrides)
    except BAD_VALUE as error:
        raise InputError(
            f"Config overrides {' '.join(overrides)!r}: {_sentence(error)}; give pairs KEY VALUE "
            "with keys that the config has."
        ) from error
    return cfg


def without_cuda(cfg: CN) -> CN:
    """A copy of ``cfg`` for the CPU, which has no synchronised batch norm."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "cpu"
    model = cfg.MODEL
    for node in (model.EFFICIENTNET, model.FPN, model.SEM_SEG_HEAD, model.ROI_MASK_HEAD):
        node.NORM = node.NORM.replace("SyncBN", "BN")
    return cfg


def _sentence(error: Exception) -> str:
    text = str(error) if isinstance(error, (OSError, YAMLError)) else str(error.args[0])
    return " ".join(text.split()).rstrip(".")
