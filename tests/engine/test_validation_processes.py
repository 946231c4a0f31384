"""Validation in two processes, as on two GPUs or on two machines without a common disk."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from detectron2.utils.events import EventStorage
from processes import in_two_processes
from scenes import write_dataset
from torch import nn

from efficientps_d2.checkpoint.checkpointer import FittingCheckpointer
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2.engine.validation import EarlyStop, Validation
from efficientps_d2.engine.validation_losses import validation_losses


def train_and_stop(rank: int, folder: Path) -> list:
    """Weights and state after each evaluation; only the main process has metrics."""
    save_dir = folder / f"machine{rank}"
    save_dir.mkdir()
    model = nn.Linear(1, 1)
    checkpointer = FittingCheckpointer(model, str(save_dir), save_to_disk=rank == 0)
    values = iter([10.0, 30.0, 20.0, 25.0, 30.0])

    def evaluate(_):
        return {"panoptic_seg": {"PQ": next(values)}} if rank == 0 else {}

    hook = Validation(1, evaluate, lambda: {"total_loss": 1.0}, checkpointer, patience=2)
    with EventStorage() as storage:
        hook.trainer = SimpleNamespace(iter=0, start_iter=0, max_iter=9, storage=storage)
        hook.before_train()
        try:
            for hook.trainer.iter in range(9):
                model.weight.data.fill_(hook.trainer.iter)
                hook.after_step()
        except EarlyStop:
            stopped = hook.trainer.iter
        hook.after_train()
    return [stopped, hook.best, hook.best_iteration, model.weight.item()]


def test_all_processes_stop_together_with_the_best_weights(tmp_path):
    expected = [4, 30.0, 1, 1.0]
    assert in_two_processes(train_and_stop, tmp_path, tmp_path) == [expected, expected]
    assert (tmp_path / "machine0" / "model_best.pth").is_file()
    assert not list((tmp_path / "machine1").iterdir())


def losses(_rank: int, cfg) -> dict[str, float]:
    torch.manual_seed(0)
    return validation_losses(cfg, Trainer.build_model(cfg).train())


def test_losses_are_those_of_all_images(tmp_path, register, tiny_config):
    folder = write_dataset(tmp_path / "data", count=3)
    data = register("three", folder)
    cfg = with_class_counts(tiny_config(data, "MODEL.FPN.NORM", "BN"))  # for norm_shift
    first, second = in_two_processes(losses, tmp_path, cfg, datasets={data: folder})
    assert first == second, first
    alone = losses(0, cfg)
    del first["norm_shift"], alone["norm_shift"]  # the largest, of means over other images
    assert first == pytest.approx(alone, rel=1e-5)
