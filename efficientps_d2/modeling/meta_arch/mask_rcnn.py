"""Mask R-CNN (He et al., ICCV 2017) in the frame of panoptic networks."""

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor

from efficientps_d2.modeling.fusion.build import require_fusion
from efficientps_d2.modeling.meta_arch.panoptic_segmentor import PanopticSegmentor
from efficientps_d2_runtime.errors import InputError


@META_ARCH_REGISTRY.register()
class MaskRCNN(PanopticSegmentor):
    """Finds instances only: its panoptic result has no stuff, and its outputs no ``sem_seg``.

    Its semantic head is a :class:`NoSemSegHead`.
    """

    has_light_outputs = False  # it has no semantic logits that could be

    @classmethod
    def from_config(cls, cfg: CfgNode):
        require_fusion(cfg.MODEL.PANOPTIC_FPN.COMBINE)
        method = cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD
        if method != "heuristic":
            raise InputError(
                f"MODEL.PANOPTIC_FPN.COMBINE.METHOD is {method}, which needs the semantic logits "
                "that MaskRCNN lacks; give heuristic."
            )
        return super().from_config(cfg)

    def postprocess(self, instances: Instances, sem_seg: Tensor, inputs: dict) -> dict:
        """As in :class:`PanopticSegmentor`, without ``sem_seg``."""
        outputs = super().postprocess(instances, sem_seg, inputs)
        del outputs["sem_seg"]
        return outputs

    def resize_sem_seg(
        self, sem_seg: Tensor, image_size: tuple[int, int], height: int, width: int
    ) -> Tensor:
        """The same logits for every pixel, without memory for each."""
        return sem_seg[:, :1, :1].expand(-1, height, width)
