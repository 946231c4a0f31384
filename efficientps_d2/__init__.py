"""EfficientPS panoptic segmentation as Detectron2 plugins; importing it registers everything."""

import importlib.util
import logging
import os
import warnings

for _module, _name in (("detectron2", "Detectron2"), ("panopticapi", "panopticapi")):
    if importlib.util.find_spec(_module) is None:
        raise ImportError(
            f"{_name} is not installed; run efficientps-d2-install-detectron2, or install it from "
            "its own repository."
        )

# Calls in Detectron2 that torch is about to change; nobody who uses it can do anything about them.
warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")
warnings.filterwarnings("ignore", category=UserWarning, message="torch.meshgrid")
logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)

import efficientps_d2.modeling  # noqa: E402, F401  registration
from efficientps_d2.checkpoint.saved_model import save_model  # noqa: E402
from efficientps_d2.config.defaults import add_efficientps_config  # noqa: E402
from efficientps_d2.config.loading import get_config, load_config  # noqa: E402
from efficientps_d2.data.dataset_mapper import PanopticDatasetMapper  # noqa: E402
from efficientps_d2.data.datasets.register import (  # noqa: E402
    register_cityscapes_layout,
    register_dataset_folders,
    register_panoptic_dataset,
)
from efficientps_d2.modeling.fusion import (  # noqa: E402
    adaptive_panoptic_fusion,
    log_odds_panoptic_fusion,
)
from efficientps_d2.modeling.meta_arch import EfficientPS, PanopticSegmentor  # noqa: E402
from efficientps_d2.prediction.predictor import Prediction, Predictor, load_predictor  # noqa: E402
from efficientps_d2.utils.errors import InputError  # noqa: E402

__all__ = [
    "EfficientPS",
    "InputError",
    "PanopticDatasetMapper",
    "PanopticSegmentor",
    "Prediction",
    "Predictor",
    "adaptive_panoptic_fusion",
    "log_odds_panoptic_fusion",
    "add_efficientps_config",
    "get_config",
    "load_config",
    "load_predictor",
    "register_cityscapes_layout",
    "register_dataset_folders",
    "register_panoptic_dataset",
    "save_model",
]
__version__ = "0.1.0"

_root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
for _split in ("train", "val"):
    register_cityscapes_layout(f"streets_{_split}", os.path.join(_root, "streets"), _split)
register_dataset_folders(_root)
