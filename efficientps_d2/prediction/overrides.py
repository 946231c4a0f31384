"""What the overrides of a config mean for predictions."""

from collections.abc import Sequence

from detectron2.config import CfgNode

from efficientps_d2_runtime.errors import InputError

THRESHOLDS = (
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH",
)


def threshold_overrides(cfg: CfgNode, threshold: float | None, given: Sequence) -> list:
    """Keys and values of a threshold of instances, but for keys that are given already.

    Without one it is that of the fusion: masks of boxes that it leaves out are not computed.
    """
    if threshold is None:
        threshold = cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH
    return [x for key in THRESHOLDS if key not in given[::2] for x in (key, float(threshold))]


def asks_to_augment(cfg: CfgNode, given: Sequence) -> bool:
    """Whether overrides ask for test-time augmentation.

    A config itself does not: there it is for the evaluation after a training.

    Raises:
        InputError: if they only say how.
    """
    keys = [key for key in given[::2] if key.startswith("TEST.AUG.")]
    if "TEST.AUG.ENABLED" in keys:
        return cfg.TEST.AUG.ENABLED
    if keys:
        raise InputError(f"{keys[0]} is of test-time augmentation; add TEST.AUG.ENABLED True.")
    return False
