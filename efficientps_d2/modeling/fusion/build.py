"""The registry of fusion rules, by the names that ``MODEL.PANOPTIC_FPN.COMBINE.METHOD`` takes."""

from collections.abc import Callable

from detectron2.config import CfgNode
from fvcore.common.registry import Registry
from torch import Tensor

from efficientps_d2_runtime.errors import InputError

# (instances, sem_seg_logits, thing_class_ids=...) -> (panoptic_seg, segments_info); see
# adaptive_panoptic_fusion.
Fusion = Callable[..., tuple[Tensor, list[dict]]]

FUSION_REGISTRY = Registry("FUSION")
FUSION_REGISTRY.__doc__ = """
Functions that make a :data:`Fusion` of the node ``MODEL.PANOPTIC_FPN.COMBINE``, by their names.
"""


def build_fusion(combine: CfgNode) -> Fusion:
    """The rule that ``combine.METHOD`` names, with the thresholds of the node.

    Raises:
        InputError: if there is none of that name.
    """
    require_fusion(combine)
    return FUSION_REGISTRY.get(combine.METHOD)(combine)


def require_fusion(combine: CfgNode) -> None:
    """
    Raises:
        InputError: if there is no rule of the name ``combine.METHOD``.
    """
    if combine.METHOD not in FUSION_REGISTRY:
        names = [name for name, _ in FUSION_REGISTRY]
        raise InputError(
            f"MODEL.PANOPTIC_FPN.COMBINE.METHOD is {combine.METHOD!r}; use one of "
            f"{', '.join(names)}."
        )


def thresholds(combine: CfgNode) -> dict:
    """What every rule takes of the node."""
    return {
        "score_threshold": combine.INSTANCES_CONFIDENCE_THRESH,
        "overlap_threshold": combine.OVERLAP_THRESH,
        "stuff_area_limit": combine.STUFF_AREA_LIMIT,
    }
