"""A form of a network that only predicts, and takes less time for it on a CPU."""

import copy

import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from timm.layers import FrozenBatchNormAct2d
from timm.models._efficientnet_blocks import (
    DepthwiseSeparableConv,
    EdgeResidual,
    InvertedResidual,
)
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from efficientps_d2.modeling.backbone.efficientnet import EfficientNet

NORMS = (_BatchNorm, FrozenBatchNorm2d, FrozenBatchNormAct2d)
# Modules of timm whose convolutions stand right before their norms.
FOLDED = (EfficientNet, DepthwiseSeparableConv, InvertedResidual, EdgeResidual)


def optimize_for_inference(
    model: nn.Module, masks: bool = False, compiled: bool = False
) -> nn.Module:
    """A copy of a network, in the mode of inference, with the same outputs up to rounding.

    Norms of EfficientNet and of Detectron2's convolutions become part of the convolution before
    them. On a CPU weights, and images of this project's networks, have the memory format
    channels_last, which depthwise convolutions need. Outputs of a :class:`PanopticSegmentor` are
    light. The copy has other names of weights and cannot be trained.

    Args:
        model: of this project or of Detectron2.
        masks: whether instances have ``pred_masks``, which AP needs. Without it, a network whose
            fusion needs them has them, too.
        compiled: compile the dense part, backbone and semantic head, by ``torch.compile``. That
            takes minutes at the first image, and again at one of another size; it needs a C++
            compiler on a CPU.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    model.is_optimized = True
    for module in list(model.modules()):
        if isinstance(module, Conv2d) and isinstance(module.norm, NORMS):
            _fold(module, module.norm)
            module.norm = None
        elif isinstance(module, FOLDED):
            _fold_block(module)
    if next(model.parameters()).device.type == "cpu":
        model.to(memory_format=torch.channels_last)
        model.memory_format = torch.channels_last
    if getattr(model, "has_light_outputs", False) and hasattr(model.sem_seg_head, "layers"):
        model.light_outputs, model.paste_masks = True, masks
    if compiled:
        model.backbone.compile()
        head = model.sem_seg_head
        if hasattr(head, "layers"):
            head.layers = torch.compile(head.layers)
    return model


def _fold_block(block: nn.Module) -> None:
    """Fold timm's norms, which have an activation of their own that stays."""
    previous = None
    for name, module in list(block.named_children()):
        if isinstance(module, NORMS) and isinstance(previous, nn.Conv2d):
            _fold(previous, module)
            setattr(block, name, module.act)
        previous = module


def _fold(conv: nn.Conv2d, norm: nn.Module) -> None:
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
