"""Refuse config values that cannot work, before anything reads data or builds a model."""

from detectron2.config import CfgNode
from detectron2.utils import comm

from efficientps_d2.config.keys import has_semantic_head, value_of
from efficientps_d2.config.other_network_rules import OTHER_NETWORK_RULES
from efficientps_d2.config.rules import MODEL_RULES
from efficientps_d2.config.training_rules import DATA_RULES, SOLVER_RULES, TEST_RULES
from efficientps_d2_runtime.errors import InputError

RULES = (*MODEL_RULES, *OTHER_NETWORK_RULES, *DATA_RULES, *SOLVER_RULES, *TEST_RULES)


def check_values(cfg: CfgNode) -> None:
    """Check each value by itself, and lists of the network that must be equally long.

    Raises:
        InputError: names the key, its value and what is allowed.
    """
    for rule in RULES:
        value = value_of(cfg, rule.key)
        if not rule.allowed.holds(value):
            raise InputError(f"{rule.key} is {_short(value)}; give {rule.allowed.words}.")
    _check_upright_boxes(cfg)
    _check_semantic_head(cfg)
    _check_levels(cfg)
    _check_resnet(cfg)
    _check_bands(cfg)


def _check_upright_boxes(cfg: CfgNode) -> None:
    """Detectron2's parts for rotated boxes predict no masks."""
    for key, rotated, upright in (
        ("MODEL.ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator", "DefaultAnchorGenerator"),
        ("MODEL.PROPOSAL_GENERATOR.NAME", "RRPN", "RPN"),
        ("MODEL.ROI_HEADS.NAME", "RROIHeads", "StandardROIHeads"),
    ):
        if value_of(cfg, key) == rotated:
            raise InputError(f"{key} {rotated} predicts rotated boxes, no masks; give {upright}.")


def _check_semantic_head(cfg: CfgNode) -> None:
    """Mask R-CNN has none, and no other network can do without."""
    name, network = cfg.MODEL.SEM_SEG_HEAD.NAME, cfg.MODEL.META_ARCHITECTURE
    if network == "MaskRCNN" and has_semantic_head(cfg):
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.NAME is {name}, but MaskRCNN has no semantic head; give "
            "NoSemSegHead, or MODEL.META_ARCHITECTURE PanopticSegmentor."
        )
    if network != "MaskRCNN" and not has_semantic_head(cfg):
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.NAME is {name}, but {network} needs a semantic head; give "
            "another name, or MODEL.META_ARCHITECTURE MaskRCNN."
        )


def _check_levels(cfg: CfgNode) -> None:
    """Each level has its anchors, and each range of IoUs its label."""
    anchors, levels = cfg.MODEL.ANCHOR_GENERATOR, cfg.MODEL.RPN.IN_FEATURES
    for name in ("SIZES", "ASPECT_RATIOS"):
        value = anchors[name]
        flat = not isinstance(value[0], (list, tuple))  # the same for all levels
        if flat or len(value) in (1, len(levels)) or f"MODEL.ANCHOR_GENERATOR.{name}" in cfg.AUTO:
            continue
        raise InputError(
            f"MODEL.ANCHOR_GENERATOR.{name} has {len(value)} lists, but MODEL.RPN.IN_FEATURES has "
            f"{len(levels)} levels; give a list for each level, or one for all."
        )
    for part in ("RPN", "ROI_HEADS"):
        labels, thresholds = cfg.MODEL[part].IOU_LABELS, cfg.MODEL[part].IOU_THRESHOLDS
        if len(labels) != len(thresholds) + 1:
            raise InputError(
                f"MODEL.{part}.IOU_LABELS has {len(labels)} labels and IOU_THRESHOLDS "
                f"{len(thresholds)} limits; there must be one label more than limits."
            )


def _check_resnet(cfg: CfgNode) -> None:
    """What our deformable ResNet has and other backbones ignore, or the other way round."""
    name = "build_deformable_resnet_fpn_backbone"
    if cfg.MODEL.FPN.GLOBAL_CONTEXT and name != cfg.MODEL.BACKBONE.NAME:
        raise InputError(
            f"MODEL.FPN.GLOBAL_CONTEXT is of MODEL.BACKBONE.NAME {name}; leave it at False."
        )
    if cfg.MODEL.RESNETS.DEFORM_NUM_GROUPS != 1 and name == cfg.MODEL.BACKBONE.NAME:
        raise InputError(
            f"MODEL.RESNETS.DEFORM_NUM_GROUPS is {cfg.MODEL.RESNETS.DEFORM_NUM_GROUPS}, but {name} "
            "has one group; leave it at 1."
        )


def _check_bands(cfg: CfgNode) -> None:
    """Photographs have three channels; bands as many as there are means."""
    keys = ("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD")
    means, deviations = (len(value_of(cfg, key)) for key in keys)
    if len(set(keys) & set(cfg.AUTO)) == 1:
        raise InputError(f'Of {keys[0]} and PIXEL_STD one is "auto"; make both so, or none.')
    if cfg.INPUT.FORMAT != "BANDS":
        for key, count in zip(keys, (means, deviations), strict=True):
            if count != 3:
                raise InputError(
                    f"{key} has {count} numbers, but INPUT.FORMAT is {cfg.INPUT.FORMAT}; give "
                    "three, or INPUT.FORMAT BANDS."
                )
        if cfg.INPUT.TURN_SCANS:
            raise InputError("INPUT.TURN_SCANS is of range images; set INPUT.FORMAT BANDS.")
        return
    if keys[0] in cfg.AUTO:
        return
    if means != deviations:
        raise InputError(
            f"MODEL.PIXEL_MEAN has {means} numbers and PIXEL_STD {deviations}; give one of each "
            "for each band."
        )
    shown = cfg.INPUT.SHOWN_BANDS
    if max(shown) >= means and tuple(shown) != (0, 1, 2):  # the default, also of fewer bands
        raise InputError(
            f"INPUT.SHOWN_BANDS is {shown}, but images have the bands 0 to {means - 1}; give three "
            "of these."
        )
    _check_scans(cfg, means)


def _check_scans(cfg: CfgNode, bands: int) -> None:
    """A mirrored scan has other coordinates, which only INPUT.TURN_SCANS knows."""
    if not cfg.INPUT.TURN_SCANS:
        return
    if bands != 5:
        raise InputError(
            f"INPUT.TURN_SCANS is of range images of 5 bands, but MODEL.PIXEL_MEAN has {bands}; "
            "set it False."
        )
    if cfg.INPUT.RANDOM_FLIP != "none":
        raise InputError("INPUT.TURN_SCANS mirrors scans, too; set INPUT.RANDOM_FLIP none.")


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # of numbers with thousands of digits
        return "too large"
    return text if len(text) < 200 else f"{text[:200]}..."


def check_schedule(cfg: CfgNode) -> None:
    """Check what the keys of a training say together.

    Raises:
        InputError: names the keys and the cure.
    """
    solver, data = cfg.SOLVER, cfg.DATALOADER
    steps = list(solver.STEPS)
    if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR" and steps:
        if steps != sorted(set(steps)):
            raise InputError(f"SOLVER.STEPS is {solver.STEPS}; give rising numbers.")
        if steps[-1] >= solver.MAX_ITER:
            scaled = {round(s * 0.9 * solver.MAX_ITER / steps[-1]) for s in steps}
            fitting = tuple(sorted(x for x in scaled if 0 < x < solver.MAX_ITER))
            raise InputError(
                f"SOLVER.STEPS {solver.STEPS} must lie below SOLVER.MAX_ITER {solver.MAX_ITER}; "
                f'give, for instance, SOLVER.STEPS "{fitting}".'
            )
    smallest, largest = cfg.INPUT.SCALE_JITTER
    if smallest > largest:
        raise InputError(
            f"INPUT.SCALE_JITTER is {cfg.INPUT.SCALE_JITTER}; the smaller comes first."
        )
    if data.SAMPLER_TRAIN == "RepeatFactorTrainingSampler" and data.REPEAT_THRESHOLD == 0:
        raise InputError(
            "DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler changes nothing while "
            "DATALOADER.REPEAT_THRESHOLD is 0; set it, for instance to 0.1."
        )
    if solver.LR_SCHEDULER_NAME == "WarmupStepWithFixedGammaLR" and (
        solver.WARMUP_ITERS >= solver.MAX_ITER
    ):
        raise InputError(
            f"SOLVER.WARMUP_ITERS {solver.WARMUP_ITERS} must lie below SOLVER.MAX_ITER "
            f"{solver.MAX_ITER} with WarmupStepWithFixedGammaLR."
        )
    if cfg.TEST.PATIENCE and not cfg.TEST.EVAL_PERIOD:
        raise InputError(
            f"TEST.PATIENCE is {cfg.TEST.PATIENCE}, but TEST.EVAL_PERIOD is 0, so that nothing is "
            "evaluated during the training; set it, for instance to 1000."
        )
    _check_sizes(cfg)
    _check_crops(cfg)


def _check_sizes(cfg: CfgNode) -> None:
    if {"INPUT.MIN_SIZE_TRAIN", "INPUT.MAX_SIZE_TRAIN"} & set(cfg.AUTO):
        return  # what they hold now is nobody's choice
    sizes = cfg.INPUT.MIN_SIZE_TRAIN
    if max(sizes) > cfg.INPUT.MAX_SIZE_TRAIN:
        raise InputError(
            f"INPUT.MIN_SIZE_TRAIN {sizes} must not exceed INPUT.MAX_SIZE_TRAIN "
            f"{cfg.INPUT.MAX_SIZE_TRAIN}: the shorter side cannot be longer than the longer one."
        )
    if cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING == "range" and (len(sizes) != 2 or sizes[0] > sizes[1]):
        raise InputError(
            f"INPUT.MIN_SIZE_TRAIN is {sizes}; for MIN_SIZE_TRAIN_SAMPLING range give two numbers, "
            "the smaller first."
        )


def _check_crops(cfg: CfgNode) -> None:
    """Crops must suit their unit, and batch norms need two values of each channel."""
    crop = cfg.INPUT.CROP
    if not crop.ENABLED or "INPUT.CROP.SIZE" in cfg.AUTO:
        return
    relative = crop.TYPE.startswith("relative")
    if relative and max(crop.SIZE) > 1:
        raise InputError(
            f'INPUT.CROP.SIZE is {crop.SIZE}; give shares up to 1, or TYPE "absolute".'
        )
    if not relative and any(side != int(side) for side in crop.SIZE):
        raise InputError(f"INPUT.CROP.SIZE is {crop.SIZE}; give whole numbers of pixels.")
    height, width = crop.SIZE
    one_image = comm.get_world_size() >= cfg.SOLVER.IMS_PER_BATCH  # in each process
    one_value = one_image and not relative and max(height, width) <= 32
    if one_value and "BN" in (cfg.MODEL.EFFICIENTNET.NORM, cfg.MODEL.SEM_SEG_HEAD.NORM):
        raise InputError(
            f"INPUT.CROP.SIZE {crop.SIZE} gives batch norms one value of each channel; give "
            "larger crops, or SOLVER.IMS_PER_BATCH 2."
        )
