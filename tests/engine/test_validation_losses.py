"""Losses on validation images, and norms that expect other ones."""

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from efficientps_d2 import PanopticDatasetMapper
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2.engine.validation_losses import NormShift, validation_losses


def test_losses_depend_on_nothing_but_the_weights(toy, tiny_config):
    """And leave no trace in the model or in the random numbers of the training."""
    cfg = with_class_counts(tiny_config(toy, "TEST.LOSS_IMAGES", 2))
    torch.manual_seed(0)
    model = Trainer.build_model(cfg).train()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    generator = torch.get_rng_state()
    with EventStorage() as storage:
        losses = validation_losses(cfg, model)
        assert storage.latest() == {}
    assert set(losses) >= {"loss_sem_seg", "loss_rpn_cls", "loss_mask", "total_loss"}
    parts = [value for name, value in losses.items() if name.startswith("loss_")]
    assert losses["total_loss"] == pytest.approx(sum(parts))
    assert torch.equal(torch.get_rng_state(), generator) and all(
        module.training for module in model.modules()
    )
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    torch.rand(1)
    assert validation_losses(cfg, model) == losses
    assert validation_losses(tiny_config(toy, "TEST.LOSS_IMAGES", 0), model) == {}


@pytest.mark.parametrize(("limit", "expected"), [(2, [0, 2]), (3, [0, 1, 2]), (50, [0, 1, 2])])
def test_so_many_images_are_looked_at(toy, tiny_config, monkeypatch, limit, expected):
    read = []
    call = PanopticDatasetMapper.__call__

    def note(self, record):
        read.append(int(record["image_id"].removeprefix("i")))
        return call(self, record)

    monkeypatch.setattr(PanopticDatasetMapper, "__call__", note)
    cfg = with_class_counts(tiny_config(toy, "TEST.LOSS_IMAGES", limit))
    validation_losses(cfg, Trainer.build_model(cfg).train())
    assert read == expected


def test_norms_that_expect_other_images_are_seen():
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean[:], norm.running_var[:] = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 9.0])
    with NormShift({"norm": norm}) as shift:
        norm(torch.ones(1, 2, 3, 3))
        norm(torch.ones(1, 2, 3, 3) * 5)
        norm(torch.ones(0, 2, 3, 3))
    norm(torch.ones(1, 2, 3, 3) * 1000)  # later
    assert shift.largest() == pytest.approx((2 / 2 + 1 / 3) / 2, rel=1e-4)
    with NormShift({}) as shift:
        assert shift.largest() == 0


def test_only_a_loss_of_the_training_ends_it(toy, tiny_config):
    cfg = with_class_counts(tiny_config(toy, "SOLVER.EMA_DECAY", 0.0))
    trainer = Trainer(cfg)
    trainer.model.train()
    trainer.model.sem_seg_head.loss_weight = float("inf")
    assert validation_losses(cfg, trainer.model)["loss_sem_seg"] == float("inf")
    trainer.iter = 0
    with EventStorage(), pytest.raises(SystemExit, match="loss_sem_seg became NaN or infinite"):
        trainer.run_step()
