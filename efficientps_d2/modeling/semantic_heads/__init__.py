"""Semantic heads; importing this registers them."""

from efficientps_d2.modeling.semantic_heads.efficientps import EfficientPSSemSegHead

__all__ = ["EfficientPSSemSegHead"]
