"""A trainer whose evaluations give the values of a script."""

import signal

import pytest
from project import flat_weights

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.engine.trainer import Trainer


@pytest.fixture
def make_trainer(toy, tiny_config, monkeypatch):
    """A function that makes a trainer whose evaluations give the PQ values of a script, in turn."""

    def make_trainer(values, *overrides, resume=False):
        cfg = with_class_counts(
            tiny_config(
                toy,
                *("SOLVER.MAX_ITER", 4, "SOLVER.STEPS", (), "SOLVER.CHECKPOINT_PERIOD", 1),
                *("TEST.EVAL_PERIOD", 1, "TEST.LOSS_IMAGES", 1, "SOLVER.BASE_LR", 0.001),
                *overrides,
            )
        )
        script = iter(values)
        calls = []

        def evaluate(trainer, last):
            calls.append(
                (
                    trainer.iter,
                    last,
                    flat_weights(trainer.checkpointer.model),
                )
            )
            value = next(script)
            if isinstance(value, signal.Signals):
                signal.raise_signal(value)
            return {"panoptic_seg": {"PQ": value}}

        monkeypatch.setattr(Trainer, "_evaluate", evaluate)
        trainer = Trainer(cfg)
        trainer.calls = calls
        trainer.resume_or_load(resume=resume)
        return trainer

    return make_trainer
