"""Activation checkpointing: what a part computed is forgotten, and computed again for gradients."""

import contextlib
from types import MethodType

import torch
from detectron2.layers.blocks import CNNBlockBase
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from efficientps_d2.modeling.deformable import DeformConv2d
from efficientps_d2.modeling.layers import SeparableConv2d
from efficientps_d2_runtime.errors import InputError

RECOMPUTED = (
    CNNBlockBase,  # of ResNet
    DepthwiseSeparableConv,  # of EfficientNet, as the next
    InvertedResidual,
    SeparableConv2d,
    DeformConv2d,
)


def recompute_blocks(model: nn.Module) -> None:
    """Let each block of a network keep only its input in training; the network is changed in place.

    A step takes less memory, and the time of another forward pass through the blocks. Results stay
    the same: random numbers and statistics of norms are those of the first pass. Weights keep their
    names, and copies of the network work too. Other networks of timm have a way of their own, in
    which batch norms count a batch twice.

    Raises:
        InputError: if a network of timm has none.
    """
    for child in model.children():
        if isinstance(child, RECOMPUTED):
            child.forward = MethodType(_recomputed, child)  # deepcopy binds it to the copy
        elif hasattr(child, "set_grad_checkpointing"):
            try:
                child.set_grad_checkpointing()
            except (AssertionError, NotImplementedError) as error:  # timm has it for most networks
                raise InputError(
                    "SOLVER.ACTIVATION_CHECKPOINTING is True, but this network of timm cannot "
                    "compute its blocks again; set it False."
                ) from error
        else:
            recompute_blocks(child)


def _recomputed(block: nn.Module, *inputs: Tensor) -> Tensor:
    forward = MethodType(type(block).forward, block)
    if not (block.training and torch.is_grad_enabled()):
        return forward(*inputs)
    return checkpoint(
        forward,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), KeepingStatistics(block)),
    )


class KeepingStatistics:
    """A context in which batch norms count no images, as often as it is entered."""

    def __init__(self, block: nn.Module):
        self.norms = [
            m for m in block.modules() if isinstance(m, _BatchNorm) and m.track_running_stats
        ]

    def __enter__(self):
        self.before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 0.0

    def __exit__(self, *_):
        for norm, (momentum, batches) in zip(self.norms, self.before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
