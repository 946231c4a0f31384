"""The predictor of a network that is to be exported."""

from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata

from efficientps_d2.config.loading import without_cuda
from efficientps_d2.deploy.whole.file import require_known_config
from efficientps_d2.prediction.predictor import Predictor


def exportable(cfg: CfgNode, metadata: Metadata) -> Predictor:
    """A network on the CPU, as it was trained.

    Raises:
        InputError: before its weights are read, if it has no form in ONNX.
    """
    cfg = without_cuda(cfg)
    require_known_config(cfg)
    return Predictor(cfg, metadata, "cpu", optimize=False)
