"""Config keys that EfficientPS adds to Detectron2's."""

import contextlib
import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg
from yaml import YAMLError

from efficientps_d2.utils.errors import InputError, one_line

# What Detectron2's config raises for wrong keys, values and files.
BAD_VALUE = (KeyError, ValueError, TypeError, AttributeError, AssertionError, SyntaxError)
BAD_VALUE += (OSError, YAMLError)
AUTO = "auto"


def add_efficientps_config(cfg: CN) -> None:
    """Add the keys of this project to ``cfg``; Detectron2's own keys are reused where one exists.

    Existing fusion keys of Detectron2: ``MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH``,
    ``.OVERLAP_THRESH`` and ``.STUFF_AREA_LIMIT``. Calling this twice is harmless.
    """
    # Keys that are "auto" in the config file or on the command line: train_net.py chooses their
    # values from the training data.
    cfg.AUTO = []

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
    # Unreadable training images that are skipped before training stops, for each loader process.
    cfg.DATALOADER.DAMAGED_IMAGE_LIMIT = 10
    # What TEST.EVAL_PERIOD maximises: its best weights are kept in model_best.pth and saved as the
    # model. Training stops after PATIENCE evaluations without a better value; 0 for never.
    cfg.TEST.BEST_METRIC = "panoptic_seg/PQ"
    cfg.TEST.PATIENCE = 0
    # Images of DATASETS.TEST on which these evaluations also compute the losses; 0 for none.
    cfg.TEST.LOSS_IMAGES = 50
    # Pictures of input, truth and prediction that an evaluation leaves in OUTPUT_DIR/pictures.
    cfg.TEST.PICTURES = 0
    # With TEST.AUG.ENABLED, an evaluation also looks at every image at these factors of its size
    # and, with TEST.AUG.FLIP, mirrored, for results that end in _TTA; MIN_SIZES there is not used.
    cfg.TEST.AUG.SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    cfg.TEST.SAVE_PANOPTIC = False  # write predictions to OUTPUT_DIR/inference in COCO's format
    # Panoptic quality by Detectron2's evaluator, which collects all predictions before it scores.
    cfg.TEST.STOCK_PANOPTIC_EVALUATOR = False


def get_config(name: str, overrides: list[str] | None = None) -> CN:
    """A config that comes with this project, such as "efficientps_cityscapes".

    Args:
        name: of a file in ``configs/``, without suffix.
        overrides: as for :func:`load_config`.

    Raises:
        InputError: if there is no such config, or an override is wrong.
    """
    # In an installed wheel the folder is inside the package, in a clone beside it.
    package = Path(__file__).parent.parent
    folder = next(f for f in (package / "configs", package.parent / "configs") if f.is_dir())
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in names:
        raise InputError(f'There is no config "{name}"; take one of {", ".join(names)}.')
    return load_config(str(folder / f"{name}.yaml"), overrides)


def load_config(config_file: str, overrides: list[str] | None = None) -> CN:
    """Read a config file of this project.

    Keys whose value is "auto" keep their default and are listed in ``AUTO``.

    Args:
        config_file: YAML file; ``_BASE_`` is relative to it.
        overrides: alternating keys and values, as on the command line.

    Raises:
        InputError: if the file is missing or a key or value is wrong; the message names it.
    """
    if not config_file:
        raise InputError("--config-file is missing; give one, such as those of configs/.")
    if not os.path.isfile(config_file):
        raise InputError(f'--config-file "{config_file}" does not exist; see the folder configs/.')
    cfg = get_cfg()
    add_efficientps_config(cfg)
    try:
        content = CN(_content(config_file))
        cfg.AUTO += _pop_auto(content)
        cfg.merge_from_other_cfg(content)
        for key in cfg.AUTO:
            value_of(cfg, key)
    except BAD_VALUE as error:
        raise InputError(f"{config_file}: {_sentence(error)}; correct that key.") from error
    _override(cfg, overrides or [])
    return cfg


def _content(config_file: str) -> dict:
    """The keys of a file and its ``_BASE_``."""
    try:
        content = CN.load_yaml_with_base(config_file)
    except (TypeError, AttributeError, UnicodeDecodeError):  # of an empty file, of a picture
        content = None
    if not isinstance(content, dict):
        raise InputError(
            f"{config_file} or its _BASE_ holds no keys with values; give a config file."
        )
    return content


def _override(cfg: CN, overrides: list[str]) -> None:
    if len(overrides) % 2:
        text = " ".join(map(str, overrides))
        raise InputError(
            f"Config overrides {text!r}: give pairs KEY VALUE, after all flags such as --resume."
        )
    pairs = dict(zip(overrides[::2], overrides[1::2], strict=True))
    auto = [key for key, value in pairs.items() if value == AUTO]
    for key, value in pairs.items():
        _refuse_parts(key, value)
    try:
        cfg.merge_from_list([x for key, v in pairs.items() if key not in auto for x in (key, v)])
        for key in auto:
            value_of(cfg, key)
    except BAD_VALUE as error:
        raise InputError(f"Config overrides: {_sentence(error)}; {_cure(cfg, pairs)}.") from error
    cfg.AUTO = [key for key in cfg.AUTO if key not in pairs] + auto


def _cure(cfg: CN, pairs: dict) -> str:
    """What to do about overrides that the config refuses."""
    known = [key for key, _ in flat_items(cfg)]
    for key in pairs:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1, cutoff=0.8)
            return f"write {close[0]} for {key}" if close else f"there is no key {key}"
    return "give a value of the right type, for a list of one \"('name',)\""


def flat_items(node: CN, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Full names, such as "INPUT.CROP.SIZE", and values of all keys."""
    for name, value in node.items():
        if isinstance(value, CN):
            yield from flat_items(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def value_of(cfg: CN, key: str):
    """The value of a key such as "INPUT.CROP.SIZE"."""
    for name in key.split("."):
        cfg = cfg[name]
    return cfg


def _pop_auto(node: CN, prefix: str = "") -> Iterator[str]:
    """Remove the keys whose value is "auto", and give their full names."""
    for name, value in list(node.items()):
        if isinstance(value, CN):
            yield from _pop_auto(value, f"{prefix}{name}.")
        elif value == AUTO:
            del node[name]
            yield f"{prefix}{name}"
        else:
            _refuse_parts(f"{prefix}{name}", value)


def _refuse_parts(key: str, value: object) -> None:
    if isinstance(value, (list, tuple, str)) and f"'{AUTO}'" in str(value):
        raise InputError(f'{key} is {value}, with "auto" inside; give "auto" alone, or a value.')


def without_cuda(cfg: CN) -> CN:
    """A copy of ``cfg`` for the CPU, which has no synchronised batch norm."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "cpu"
    model = cfg.MODEL
    for node in (model.EFFICIENTNET, model.FPN, model.SEM_SEG_HEAD, model.ROI_MASK_HEAD):
        node.NORM = node.NORM.replace("SyncBN", "BN")
    return cfg


def _sentence(error: Exception) -> str:
    # The text of a KeyError is in quotes.
    text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    return " ".join(text.split()).rstrip(".")


@contextlib.contextmanager
def naming_bad_keys(cfg: CN) -> Iterator[None]:
    """Turn errors of building a model into an InputError that names the key to correct."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, ValueError, RuntimeError, AssertionError, AttributeError) as error:
        # Registries say which name they do not know, but not where it stands.
        keys = [k for k, v in flat_items(cfg) if f"'{v}'" in str(error)]
        raise InputError(
            f"The model cannot be built from this config: {one_line(error)}; correct "
            f"{' or '.join(keys) or 'the key below MODEL that says so'}."
        ) from error
