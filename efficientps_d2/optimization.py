"""The optimizer that a config names."""

import torch
from detectron2.config import CfgNode
from detectron2.solver import get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from torch import nn

from .errors import InputError

WHOLE_MODEL = "full_model"  # a CLIP_TYPE besides Detectron2's "value" and "norm" of each parameter


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD as Detectron2 builds it, or AdamW, by the keys below ``SOLVER``.

    ``BACKBONE_LR_FACTOR`` scales the learning rate of the pretrained network below the FPN.
    ``CLIP_GRADIENTS.CLIP_TYPE "full_model"`` clips the norm of all gradients together.

    Raises:
        InputError: if ``SOLVER.OPTIMIZER`` is unknown.
    """
    solver = cfg.SOLVER
    pretrained = {f"{name}.{part}" for name, part in _pretrained_parameters(model)}
    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        lr_factor_func=lambda name: solver.BACKBONE_LR_FACTOR if name in pretrained else 1.0,
    )
    options = {"lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY, "foreach": True}
    if solver.OPTIMIZER == "SGD":
        optimizer = torch.optim.SGD(
            groups, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV, **options
        )
    elif solver.OPTIMIZER == "AdamW":
        optimizer = torch.optim.AdamW(groups, **options)
    else:
        raise InputError(f'SOLVER.OPTIMIZER is {solver.OPTIMIZER!r}; use "SGD" or "AdamW".')
    clip = solver.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE == WHOLE_MODEL:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]

        def clip_all(*_) -> None:
            nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)

        optimizer.register_step_pre_hook(clip_all)
        return optimizer
    return maybe_add_gradient_clipping(cfg, optimizer)


def _pretrained_parameters(model: nn.Module):
    """Module and parameter names, as Detectron2 joins them, of the network below the FPN."""
    bottom_up = getattr(model.backbone, "bottom_up", None)
    for name, module in model.named_modules() if bottom_up is not None else ():
        if name.startswith("backbone.bottom_up."):
            yield from ((name, part) for part, _ in module.named_parameters(recurse=False))
