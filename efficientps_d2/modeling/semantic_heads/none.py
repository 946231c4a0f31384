"""The semantic head of networks without one."""

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn


@SEM_SEG_HEADS_REGISTRY.register()
class NoSemSegHead(nn.Module):
    """Calls every pixel a thing, which leaves no place for stuff, and has nothing to learn."""

    @configurable
    def __init__(self, *, num_classes: int, thing_class_ids: list[int], ignore_value: int = 255):
        """
        Args:
            num_classes: number of all classes.
            thing_class_ids: those that are things.
            ignore_value: label of pixels without ground truth.
        """
        super().__init__()
        self.ignore_value = ignore_value
        logits = torch.full((num_classes,), -20.0)
        logits[list(thing_class_ids)] = 0.0
        self.register_buffer("logits", logits, persistent=False)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]):
        head = cfg.MODEL.SEM_SEG_HEAD
        return {
            "num_classes": head.NUM_CLASSES,
            "thing_class_ids": cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS,
            "ignore_value": head.IGNORE_VALUE,
        }

    def forward(self, features: dict[str, Tensor], targets: Tensor | None = None):
        """As :meth:`SemanticHead.forward`; one pixel stands for each image."""
        if self.training:
            return None, {}
        count = len(next(iter(features.values())))
        return self.logits.view(1, -1, 1, 1).expand(count, -1, 1, 1), {}
