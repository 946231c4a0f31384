"""EfficientPS (:paper:`EfficientPS`, Mohan & Valada, IJCV 2021)."""

from detectron2.modeling import META_ARCH_REGISTRY

from efficientps_d2.modeling.meta_arch.panoptic_segmentor import PanopticSegmentor


@META_ARCH_REGISTRY.register()
class EfficientPS(PanopticSegmentor):
    """The network of the paper (section 3), by the parts that its configs name.

    They are a 2-way FPN on EfficientNet, a separable RPN and mask head, a semantic head with a
    loss on the hardest pixels, and the adaptive fusion.
    """
