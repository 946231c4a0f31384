"""The optimizer that a config names, and its schedule for other numbers of workers."""

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.solver import get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from torch import nn

from efficientps_d2_runtime.errors import InputError

WHOLE_MODEL = "full_model"
PRETRAINED = "backbone.bottom_up."  # names of parameters below the FPN begin so


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD as Detectron2 builds it, or AdamW, by the keys below ``SOLVER``.

    ``BACKBONE_LR_FACTOR`` scales the learning rate of the pretrained network below the FPN.
    ``CLIP_GRADIENTS.CLIP_TYPE "full_model"`` clips the norm of all gradients together.

    Raises:
        InputError: if the factor is for a backbone that has no network below an FPN.
    """
    solver, clip = cfg.SOLVER, cfg.SOLVER.CLIP_GRADIENTS
    names = [name for name, _ in model.named_parameters()]
    if solver.BACKBONE_LR_FACTOR != 1 and not any(name.startswith(PRETRAINED) for name in names):
        raise InputError(
            f"SOLVER.BACKBONE_LR_FACTOR is {solver.BACKBONE_LR_FACTOR}, but this model has no "
            "network below an FPN; set it to 1.0."
        )

    def rate_factor(name: str) -> float:
        of_backbone = solver.BACKBONE_LR_FACTOR if name.startswith(PRETRAINED) else 1.0
        return of_backbone * (solver.BIAS_LR_FACTOR if name.endswith(".bias") else 1.0)

    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        lr_factor_func=rate_factor,
    )
    options = {"lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY, "foreach": True}
    if solver.OPTIMIZER == "SGD":
        optimizer = torch.optim.SGD(
            groups, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV, **options
        )
    else:
        optimizer = torch.optim.AdamW(groups, **options)
    if clip.ENABLED and clip.CLIP_TYPE == WHOLE_MODEL:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]

        def clip_all(*_) -> None:
            nn.utils.clip_grad_norm_(parameters, clip.CLIP_VALUE, clip.NORM_TYPE)

        optimizer.register_step_pre_hook(clip_all)
        return optimizer
    return maybe_add_gradient_clipping(cfg, optimizer)


def scaled_to_workers(cfg: CfgNode, workers: int) -> CfgNode:
    """As :meth:`DefaultTrainer.auto_scale_workers`; statistics freeze in the same epoch, too.

    Raises:
        InputError: if the batch cannot be divided by ``SOLVER.REFERENCE_WORLD_SIZE``.
    """
    batch, reference = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_WORLD_SIZE
    if reference and batch % reference:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH {batch} is no multiple of SOLVER.REFERENCE_WORLD_SIZE "
            f"{reference}; set SOLVER.REFERENCE_WORLD_SIZE 0 to take the schedule as it is."
        )
    scaled = DefaultTrainer.auto_scale_workers(cfg, workers)
    if scaled is cfg:
        return cfg
    scaled.defrost()  # a copy
    scale = workers / reference
    scaled.SOLVER.FREEZE_BN_ITER = round(cfg.SOLVER.FREEZE_BN_ITER / scale)
    scaled.freeze()
    return scaled
