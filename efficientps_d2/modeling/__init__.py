"""Networks; importing this registers all their parts with Detectron2."""

from efficientps_d2.modeling import backbone, instance_heads, meta_arch, semantic_heads

__all__ = ["backbone", "instance_heads", "meta_arch", "semantic_heads"]
