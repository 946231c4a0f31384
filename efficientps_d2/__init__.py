"""EfficientPS panoptic segmentation as Detectron2 plugins; importing it registers everything."""

import importlib.util
import warnings

for _module, _name in (("detectron2", "Detectron2"), ("panopticapi", "panopticapi")):
    if importlib.util.find_spec(_module) is None:
        raise ImportError(
            f"{_name} is not installed; run efficientps-d2-install-detectron2, or install it from "
            "its own repository."
        )

with warnings.catch_warnings():
    # Detectron2 calls torch.jit.script when it is imported; no user can do anything about that.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")
    import efficientps_d2.data.datasets.builtin
    import efficientps_d2.modeling  # noqa: F401  registration
    from efficientps_d2.checkpoint.saved_model import save_model
    from efficientps_d2.config.defaults import add_efficientps_config
    from efficientps_d2.config.loading import get_config, load_config
    from efficientps_d2.data.dataset_mapper import PanopticDatasetMapper
    from efficientps_d2.data.datasets.register import (
        register_cityscapes_layout,
        register_dataset_folders,
        register_panoptic_dataset,
    )
    from efficientps_d2.modeling.fusion import (
        adaptive_panoptic_fusion,
        log_odds_panoptic_fusion,
        upsnet_panoptic_fusion,
    )
    from efficientps_d2.modeling.meta_arch import (
        EfficientPS,
        LPSNetStyle,
        MaskRCNN,
        PanopticSegmentor,
        UPSNet,
    )
    from efficientps_d2.prediction.predictor import Prediction, Predictor, load_predictor
    from efficientps_d2_runtime.errors import InputError

__all__ = [
    "EfficientPS",
    "InputError",
    "LPSNetStyle",
    "MaskRCNN",
    "PanopticDatasetMapper",
    "PanopticSegmentor",
    "Prediction",
    "Predictor",
    "UPSNet",
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
    "upsnet_panoptic_fusion",
]
__version__ = "0.1.0"
