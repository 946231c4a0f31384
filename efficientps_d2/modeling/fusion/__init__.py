"""Rules that fuse instances and semantic logits into one panoptic map; one module for each."""

from efficientps_d2.modeling.fusion.adaptive import adaptive_panoptic_fusion
from efficientps_d2.modeling.fusion.build import FUSION_REGISTRY, build_fusion
from efficientps_d2.modeling.fusion.dense_boxes import dense_box_fusion
from efficientps_d2.modeling.fusion.heuristic import heuristic_panoptic_fusion
from efficientps_d2.modeling.fusion.log_odds import log_odds_panoptic_fusion
from efficientps_d2.modeling.fusion.upsnet import upsnet_panoptic_fusion

__all__ = [
    "FUSION_REGISTRY",
    "adaptive_panoptic_fusion",
    "build_fusion",
    "dense_box_fusion",
    "heuristic_panoptic_fusion",
    "log_odds_panoptic_fusion",
    "upsnet_panoptic_fusion",
]
