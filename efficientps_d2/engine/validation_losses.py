"""Losses on validation images, and how well the statistics of norms fit them."""

import zlib
from functools import partial

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, build_detection_test_loader
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from efficientps_d2.data.dataset_mapper import PanopticDatasetMapper


@torch.no_grad()
def validation_losses(cfg: CfgNode, model: nn.Module) -> dict[str, float]:
    """Mean losses on ``TEST.LOSS_IMAGES`` images of ``DATASETS.TEST``, evenly spaced.

    Statistics of norms are fixed and random numbers are the same each time, so that values differ
    only by the weights.

    Args:
        cfg: of the run.
        model: a :class:`PanopticSegmentor`, not wrapped; left in the modes it was in.

    Returns:
        Each loss by name, ``total_loss`` and ``norm_shift`` (see :class:`NormShift`); nothing
        without images.
    """
    records = [record for name in cfg.DATASETS.TEST for record in DatasetCatalog.get(name)]
    wanted = min(len(records), cfg.TEST.LOSS_IMAGES)
    if not wanted:
        return {}
    chosen = np.linspace(0, len(records) - 1, wanted).round().astype(int)
    loader = build_detection_test_loader(
        [records[i] for i in chosen], mapper=PanopticDatasetMapper.for_validation(cfg)
    )
    modes = {module: module.training for module in model.modules()}
    model.train()
    model.backbone.eval()
    norms = {k: m for k, m in model.named_modules() if isinstance(m, _BatchNorm)}
    for module in norms.values():
        module.eval()
    sums, count = {}, 0
    # Heads sample boxes at random, and write their counts into the storage of the training.
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), EventStorage(), NormShift(norms) as shift:
        for samples in loader:
            # By the image, whatever process it is in.
            torch.manual_seed(zlib.crc32(str(samples[0]["image_id"]).encode()))
            for name, loss in model(samples).items():
                sums[name] = sums.get(name, 0.0) + float(loss) * len(samples)
            count += len(samples)
    for module, mode in modes.items():
        module.training = mode
    parts = comm.all_gather((sums, count, shift.largest()))
    total = sum(count for _, count, _ in parts)
    names = dict.fromkeys(name for sums, _, _ in parts for name in sums)
    means = {name: sum(sums.get(name, 0.0) for sums, _, _ in parts) / total for name in names}
    norm_shift = max(shift for _, _, shift in parts)
    return {**means, "total_loss": sum(means.values()), "norm_shift": norm_shift}


class NormShift:
    """How far the statistics of batch norms are from what they meet in inference.

    Of a norm, the difference between the mean of its inputs and its running mean, in its running
    standard deviations, averaged over channels.
    """

    def __init__(self, norms: dict[str, _BatchNorm]):
        self.norms = norms
        self.means: dict[str, list[torch.Tensor]] = {name: [] for name in norms}

    def __enter__(self) -> "NormShift":
        self._hooks = [
            norm.register_forward_pre_hook(partial(self._note, name))
            for name, norm in self.norms.items()
        ]
        return self

    def __exit__(self, *_) -> None:
        for hook in self._hooks:
            hook.remove()

    def _note(self, name: str, _norm: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]):  # RoIs
            self.means[name].append(inputs[0].float().mean(dim=(0, 2, 3)))

    def largest(self) -> float:
        """That of the worst norm; 0 without norms."""
        shifts = [0.0]
        for name, means in self.means.items():
            norm = self.norms[name]
            if means and norm.running_mean is not None:
                difference = torch.stack(means).mean(dim=0) - norm.running_mean
                sigma = (norm.running_var + norm.eps).sqrt()
                shifts.append(float((difference / sigma).abs().mean()))
        return max(shifts)
