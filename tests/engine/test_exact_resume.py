"""A run that was stopped and resumed is the run that was never stopped, bit for bit."""

import pytest
import torch
from project import flat_weights
from scenes import write_dataset

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.loaders import build_train_loader
from efficientps_d2.data.training_order import seed_all
from efficientps_d2.engine.trainer import Trainer

STEPS = 5


@pytest.fixture
def config(tmp_path, register, tiny_config):
    """A config with everything that draws random numbers."""
    name = register("seven", write_dataset(tmp_path / "seven", count=7))

    def config(*overrides):
        keys = (
            *("SEED", 3, "INPUT.COLOR_JITTER", True, "INPUT.SCALE_JITTER", (0.7, 1.4)),
            *("MODEL.EFFICIENTNET.DROP_PATH", 0.2, "SOLVER.IMS_PER_BATCH", 2),
            *("SOLVER.MAX_ITER", STEPS, "SOLVER.STEPS", (), "SOLVER.CHECKPOINT_PERIOD", 1),
            *("SOLVER.EMA_DECAY", 0.9, "DATALOADER.NUM_WORKERS", 0),
        )
        return with_class_counts(tiny_config(name, *keys, *overrides))

    return config


def trained(cfg, monkeypatch, stop: int = STEPS, resume: bool = False) -> tuple[list, torch.Tensor]:
    """The losses of each iteration and the weights of a run that is killed before ``stop``."""
    losses = []
    monkeypatch.setattr(Trainer, "_evaluate", lambda *_: {})
    torch.manual_seed(0)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    step = trainer._trainer.run_step

    def recorded_step():
        if trainer.iter == stop:
            raise KeyboardInterrupt
        step()
        losses.append(trainer.storage.latest()["total_loss"][0])

    trainer._trainer.run_step = recorded_step
    try:
        trainer.train()
    except KeyboardInterrupt:
        # A new process knows nothing of these.
        seed_all(1)
    return losses, flat_weights(trainer.model)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_as_if_it_had_not_been(config, monkeypatch, tmp_path, workers):
    whole = config("OUTPUT_DIR", str(tmp_path / "whole"))
    expected, weights = trained(whole, monkeypatch)
    cut = config("OUTPUT_DIR", str(tmp_path / "cut"), "DATALOADER.NUM_WORKERS", workers)
    losses = []
    for stop in (2, 3, STEPS):
        more, found = trained(cut, monkeypatch, stop, resume=True)
        losses += more
    assert losses == expected
    assert torch.equal(found, weights)


def test_batches_do_not_depend_on_workers_or_on_where_they_start(config):
    def batches(start, workers, count):
        loader = build_train_loader(config("DATALOADER.NUM_WORKERS", workers))
        loader.batch_sampler.start_iteration = start
        found = [batch for _, batch in zip(range(count), loader, strict=False)]
        return [[(sample["file_name"], sample["image"]) for sample in batch] for batch in found]

    whole, later = batches(0, 0, 8), batches(3, 2, 5)
    for expected, found in zip(whole[3:], later, strict=True):
        assert [name for name, _ in found] == [name for name, _ in expected]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(found, expected, strict=True))
    names = [name for batch in whole for name, _ in batch]
    assert len(set(names[:7])) == 7, "each image once before one comes again"
