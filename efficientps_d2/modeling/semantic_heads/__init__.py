"""Semantic heads; importing this registers them."""

from efficientps_d2.modeling.semantic_heads.base import SemanticHead
from efficientps_d2.modeling.semantic_heads.efficientps import EfficientPSSemSegHead
from efficientps_d2.modeling.semantic_heads.none import NoSemSegHead
from efficientps_d2.modeling.semantic_heads.upsnet import UPSNetSemSegHead

__all__ = ["EfficientPSSemSegHead", "NoSemSegHead", "SemanticHead", "UPSNetSemSegHead"]
