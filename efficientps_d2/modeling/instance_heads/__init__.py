"""RPN, RoI heads and mask heads; importing this registers them."""

from efficientps_d2.modeling.instance_heads.mask_head import ConvMaskHead, SeparableConvMaskHead
from efficientps_d2.modeling.instance_heads.roi_heads import CrowdAwareROIHeads
from efficientps_d2.modeling.instance_heads.rpn import (
    CrowdAwareRPN,
    SeparableConvRPNHead,
    WholePixelAnchorGenerator,
)

__all__ = [
    "ConvMaskHead",
    "CrowdAwareROIHeads",
    "CrowdAwareRPN",
    "SeparableConvMaskHead",
    "SeparableConvRPNHead",
    "WholePixelAnchorGenerator",
]
