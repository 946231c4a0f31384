"""Whole networks; importing this registers them."""

from efficientps_d2.modeling.meta_arch.efficientps import EfficientPS
from efficientps_d2.modeling.meta_arch.lpsnet import LPSNetStyle
from efficientps_d2.modeling.meta_arch.mask_rcnn import MaskRCNN
from efficientps_d2.modeling.meta_arch.panoptic_segmentor import PanopticSegmentor
from efficientps_d2.modeling.meta_arch.upsnet import UPSNet

__all__ = ["EfficientPS", "LPSNetStyle", "MaskRCNN", "PanopticSegmentor", "UPSNet"]
