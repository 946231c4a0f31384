"""EfficientPS panoptic segmentation as Detectron2 plugins; importing it registers everything."""

import importlib.util
import os

if importlib.util.find_spec("detectron2") is None:
    raise ImportError(
        "Detectron2 is not installed; run: python tools/install_detectron2.py "
        "(or install it from its own repository)."
    )

from . import efficientps as _efficientps  # noqa: F401  registration
from . import instance_heads as _instance_heads  # noqa: F401  registration
from . import semantic_head as _semantic_head  # noqa: F401  registration
from . import two_way_fpn as _two_way_fpn  # noqa: F401  registration
from .config import add_efficientps_config
from .dataset_mapper import PanopticDatasetMapper
from .datasets import (
    register_cityscapes_layout,
    register_dataset_folders,
    register_panoptic_dataset,
)
from .efficientps import EfficientPS
from .errors import InputError
from .panoptic_fusion import adaptive_panoptic_fusion

__all__ = [
    "EfficientPS",
    "InputError",
    "PanopticDatasetMapper",
    "adaptive_panoptic_fusion",
    "add_efficientps_config",
    "register_cityscapes_layout",
    "register_dataset_folders",
    "register_panoptic_dataset",
]
__version__ = "0.1.0"

_root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
for _split in ("train", "val"):
    register_cityscapes_layout(f"streets_{_split}", os.path.join(_root, "streets"), _split)
register_dataset_folders(_root)
