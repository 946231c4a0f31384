"""Conversion of checkpoints of the authors' code, in both directions."""

from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from torch import nn

from efficientps_d2.checkpoint.official import Change, from_official, official_name, to_official
from efficientps_d2.checkpoint.weights_file import is_safetensors, read_state_dict, write_weights
from efficientps_d2.config.building import build_network
from efficientps_d2.config.loading import without_cuda
from efficientps_d2.modeling.backbone.efficientnet import is_paper_efficientnet
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file

# Their rows tell the number of all classes, and of things and background.
CLASSIFIERS = ("sem_seg_head.predictor.weight", "roi_heads.box_predictor.cls_score.weight")


class Conversion(NamedTuple):
    """What happened to each tensor, the names of what was dropped, and the numbers of classes."""

    changes: list[Change]
    dropped: list[str]
    num_classes: int
    num_things: int


def convert_checkpoint(
    source: Path, output: Path, cfg: CfgNode, reverse: bool = False
) -> Conversion:
    """Write a checkpoint of the authors' code as one of this project, or the other way round.

    Args:
        source: the checkpoint.
        output: the file to write; ``.safetensors`` is possible for this project.
        cfg: of the network that the weights are for; class counts follow the checkpoint.
        reverse: from this project to the authors' code.

    Raises:
        InputError: if the checkpoint is not of that code, or ``output`` cannot be written.
    """
    if reverse and is_safetensors(output):
        raise InputError(f"{output}: the authors' code reads no safetensors; give NAME.pth.")
    state, dropped = read_state_dict(source)
    model = _matching_model(cfg, state, reverse)
    converted, changes = (to_official if reverse else from_official)(state, model)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if reverse:
            with replacing_file(output) as partial:
                torch.save({"meta": {}, "state_dict": converted}, partial)
        else:
            write_weights(output, converted)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{output} cannot be written ({error}); give another OUTPUT.") from error
    things = model.roi_heads.num_classes
    return Conversion(changes, dropped, model.sem_seg_head.predictor.out_channels, things)


def _matching_model(cfg: CfgNode, state: dict, reverse: bool) -> nn.Module:
    """The config's model, with as many classes as the checkpoint has."""
    cfg = without_cuda(cfg)
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    if not is_paper_efficientnet(cfg.MODEL.EFFICIENTNET.NAME):
        raise InputError(
            "The config does not describe the authors' network; give one with one of "
            "tf_efficientnet_b0 to b7 as MODEL.EFFICIENTNET.NAME."
        )
    names = CLASSIFIERS if reverse else [official_name(name) for name in CLASSIFIERS]
    for name in names:
        if name not in state:
            expected = "this project" if reverse else "the authors' code"
            raise InputError(
                f"{name} is missing, so this is no checkpoint of {expected}; --reverse is for "
                "checkpoints of this project, and only for them."
            )
    classes, things = (state[name].shape[:1].numel() for name in names)
    things -= 1  # without background
    if not 0 < things < classes:
        raise InputError(
            f"{names[0]} has {classes} rows and {names[1]} {things + 1}, which is no number of all "
            "classes and of things with background."
        )
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES = classes, things
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = list(range(classes - things, classes))
    return build_network(cfg)
