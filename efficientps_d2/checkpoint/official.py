"""State dicts of the authors' EfficientPS code and of this project, converted into each other.

The two networks compute the same. Their state dicts differ in

* names;
* norms: InPlaceABN multiplies by ``|weight| + eps``, batch norm by ``weight``;
* the background: class 0 in the authors' heads and with box deltas and a mask of its own, which are
  never used; the last class, without deltas and mask, in Detectron2's.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from efficientps_d2_runtime.errors import InputError

# Modules here and there whose tensors have the same names.
SAME_BELOW = {
    "backbone.bottom_up": "backbone",
    "proposal_generator.rpn_head.conv": "rpn_head.rpn_conv",
    "proposal_generator.rpn_head.objectness_logits": "rpn_head.rpn_cls",
    "proposal_generator.rpn_head.anchor_deltas": "rpn_head.rpn_reg",
    "roi_heads.box_head.fc1": "bbox_head.shared_fcs.0",
    "roi_heads.box_head.fc2": "bbox_head.shared_fcs.1",
    "roi_heads.box_predictor.cls_score": "bbox_head.fc_cls",
    "roi_heads.box_predictor.bbox_pred": "bbox_head.fc_reg",
    "roi_heads.mask_head.deconv": "mask_head.upsample",
    "roi_heads.mask_head.predictor": "mask_head.conv_logits",
    "sem_seg_head.predictor": "semantic_head.conv_logits",
}
# Modules made of convolutions with norm: the norm belongs to the convolution here, both stand side
# by side there. Their bottom-up laterals and parts of the semantic head go from deep to shallow.
CONVS_BELOW = {
    **{f"backbone.top_down_laterals.{i}": f"neck.lateral_convs_top.{i}" for i in range(4)},
    **{f"backbone.bottom_up_laterals.{i}": f"neck.lateral_convs_bottom.{3 - i}" for i in range(4)},
    **{f"backbone.outputs.{i}": f"neck.fpn_convs.{i}" for i in range(4)},
    **{f"roi_heads.mask_head.mask_fcn{i + 1}": f"mask_head.convs.{i}" for i in range(4)},
    "sem_seg_head.dpc5.branches": "semantic_head.lateral_convs_ss.0.convs",
    "sem_seg_head.dpc5.project": "semantic_head.lateral_convs_ss.0.conv",
    "sem_seg_head.dpc4.branches": "semantic_head.lateral_convs_ss.1.convs",
    "sem_seg_head.dpc4.project": "semantic_head.lateral_convs_ss.1.conv",
    "sem_seg_head.lsfe3": "semantic_head.lateral_convs_ls.0.convs",
    "sem_seg_head.lsfe2": "semantic_head.lateral_convs_ls.1.convs",
    "sem_seg_head.mc4": "semantic_head.aligning_convs.0.convs",
    "sem_seg_head.mc3": "semantic_head.aligning_convs.1.convs",
}
# Lazy, so that `.0.weight` is a part, and `.0.1.weight` a part of the module with an index.
CONV_TENSOR = re.compile(
    r"(?P<index>(?:\.\d)??)(?P<part>\.[01])?(?P<norm>\.norm)?(?P<tensor>\.\w+)"
)
PARTS = {None: "", ".0": ".depthwise_conv", ".1": ".pointwise_conv"}

# Tensors with rows for each class: how many, and whether the background has some here, too.
CLASS_ROWS = {
    "roi_heads.box_predictor.cls_score": (1, True),
    "roi_heads.box_predictor.bbox_pred": (4, False),
    "roi_heads.mask_head.predictor": (1, False),
}


class Change(NamedTuple):
    """What happened to one tensor: its two names and, if it was changed, how."""

    name: str
    official_name: str
    how: str = ""


def official_name(name: str) -> str:
    """The name that the tensor ``name`` of :class:`EfficientPS` has in the authors' state dict."""
    for here, there in SAME_BELOW.items():
        if name.startswith(f"{here}."):
            return there + name.removeprefix(here)
    for here, there in CONVS_BELOW.items():
        match = CONV_TENSOR.fullmatch(name.removeprefix(here))
        if match and name.startswith(here):
            kind = ".bn" if match["norm"] else ".conv"
            return there + match["index"] + PARTS[match["part"]] + kind + match["tensor"]
    raise InputError(f"{name} has no counterpart in the authors' network.")


def from_official(official: dict[str, Tensor], model: nn.Module) -> tuple[dict, list[Change]]:
    """Convert the authors' state dict.

    Args:
        official: their state dict, without ``module.`` prefixes.
        model: :class:`EfficientPS` built from the config that the weights are for.

    Returns:
        The state dict of ``model``, and one :class:`Change` for each tensor.

    Raises:
        InputError: if a tensor is missing, unexpected or of the wrong shape; the message names it.
    """
    expected = model.state_dict()
    names = {official_name(name): name for name in expected}
    _same_names(official, names)
    norms = dict(_norm_weights(model))
    state, changes = {}, []
    for there, name in names.items():
        tensor, how = official[there], ""
        rows, background = CLASS_ROWS.get(name.rpartition(".")[0], (0, False))
        if name in norms:
            eps = norms[name][0]
            tensor, how = tensor.abs() + eps, f"|weight| + {eps:g}"
        elif rows:
            first, others = tensor[:rows], tensor[rows:]
            tensor = torch.cat([others, first]) if background else others
            how = "background moved to the end" if background else "background dropped"
        _same_shape(there, tensor, expected[name], added=0 if background else rows)
        state[name] = tensor.clone()
        changes.append(Change(name, there, how))
    return state, changes


def to_official(state: dict[str, Tensor], model: nn.Module) -> tuple[dict, list[Change]]:
    """The reverse of :func:`from_official`, with arguments and results the other way round.

    Background rows that Detectron2 does not have become zeros. Where a norm has a negative weight,
    which InPlaceABN cannot have, the signs of weight, running mean and preceding convolution change
    together; the output stays the same. A weight below eps becomes eps.

    Raises:
        InputError: if a tensor is missing, unexpected or of the wrong shape; the message names it.
    """
    _same_names(state, model.state_dict())
    norms = dict(_norm_weights(model))
    flips = {}
    for name, (_, conv) in norms.items():
        sign = torch.where(state[name] < 0, -1.0, 1.0)
        if (sign < 0).any():
            flips[conv] = flips[f"{name.removesuffix('weight')}running_mean"] = sign
    official, changes = {}, []
    for name, expected in model.state_dict().items():
        tensor, how = state[name], ""
        _same_shape(name, tensor, expected)
        rows, background = CLASS_ROWS.get(name.rpartition(".")[0], (0, False))
        if name in norms:
            eps = norms[name][0]
            inexact = int((tensor.abs() < eps).sum())
            tensor = (tensor.abs() - eps).clamp(min=0)
            how = f"|weight| - {eps:g}" + (f", {inexact} raised to it" if inexact else "")
        elif name in flips:
            sign = flips[name].view(-1, *[1] * (tensor.ndim - 1))
            tensor, how = tensor * sign, "signs of channels with a negative norm weight"
        elif rows:
            if background:
                first, others, how = tensor[-rows:], tensor[:-rows], "background moved to the front"
            else:
                first, others, how = torch.zeros_like(tensor[:rows]), tensor, "background zeros"
            tensor = torch.cat([first, others])
        official[official_name(name)] = tensor.clone()
        changes.append(Change(name, official_name(name), how))
    return official, changes


def _norm_weights(model: nn.Module) -> Iterator[tuple[str, tuple[float, str]]]:
    """Name of each norm's weight, with its eps and the name of its convolution's weight.

    Every norm of the network is registered right after the convolution it belongs to.
    """
    conv = ""
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            yield f"{name}.weight", (module.eps, conv)
        elif isinstance(module, nn.Conv2d):
            conv = f"{name}.weight"


def _same_names(given: dict, expected: dict) -> None:
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    if missing or unexpected:
        name = (missing or unexpected)[0]
        raise InputError(
            f"{name} is {'missing' if missing else 'unexpected'} ({len(missing)} tensors missing, "
            f"{len(unexpected)} unexpected); the checkpoint is of another network or needs another "
            "--config-file."
        )


def _same_shape(name: str, tensor: Tensor, expected: Tensor, added: int = 0) -> None:
    if tensor.shape != expected.shape:
        there, wanted = list(tensor.shape), list(expected.shape)
        if added:
            there[0], wanted[0] = there[0] + added, wanted[0] + added
        raise InputError(
            f"{name} has the shape {there} instead of {wanted}; the checkpoint is of another "
            "network or needs another --config-file."
        )
