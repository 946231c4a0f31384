"""Ctrl-C and SIGTERM at any moment of a training: what is saved fits together."""

import signal
from pathlib import Path

import pytest
import torch
from project import flat_weights

from efficientps_d2.engine.hooks import WeightAverage
from efficientps_d2.engine.trainer import Trainer


def find_dicts(state: dict, key: str) -> list[dict]:
    """The dicts below ``state`` that have a key."""
    found = [state] if key in state else []
    return found + [d for v in state.values() if isinstance(v, dict) for d in find_dicts(v, key)]


def test_a_signal_in_the_last_iteration_ends_the_run_at_once(make_trainer, monkeypatch):
    augmented = []
    monkeypatch.setattr(Trainer, "test_with_TTA", lambda *_: augmented.append(1))
    trainer = make_trainer([10.0, 20.0, 30.0], "TEST.AUG.ENABLED", True)
    run_step = trainer._trainer.run_step

    def interrupted_step():
        run_step()
        if trainer.iter == 3:
            signal.raise_signal(signal.SIGINT)

    trainer._trainer.run_step = interrupted_step
    with pytest.raises(SystemExit):
        trainer.train()
    assert len(trainer.calls) == 3 and not augmented, "no last evaluation"
    resumed = make_trainer([25.0, 30.0], "TEST.AUG.ENABLED", True, resume=True)
    resumed.train()
    assert [last for _, last, _ in resumed.calls] == [True, True] and augmented


def test_a_signal_in_the_last_evaluation_leaves_the_last_weights(make_trainer):
    """Though those in the model are the best by then."""
    trainer = make_trainer([10.0, 30.0, 20.0, 25.0, signal.SIGINT])
    with pytest.raises(SystemExit):
        trainer.train()
    folder = trainer.cfg.OUTPUT_DIR
    assert Path(folder, "last_checkpoint").read_text() == "model_final.pth"
    last = trainer.calls[-2][2]
    assert not torch.equal(flat_weights(trainer.checkpointer.model), last)
    resumed = make_trainer([25.0, 30.0], resume=True)
    assert torch.equal(flat_weights(resumed.checkpointer.model), last)


def test_a_loader_process_that_was_killed_is_one_sentence(make_trainer, monkeypatch):
    trainer = make_trainer([10.0, 20.0])
    run_step = trainer._trainer.run_step

    def killed():  # as PyTorch says it
        if trainer.iter == 1:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
        run_step()

    trainer._trainer.run_step = killed
    with pytest.raises(SystemExit) as error:
        trainer.train()
    told = str(error.value)
    assert told.startswith("Error: a loader process died (DataLoader worker (pid 7) is killed")
    assert "the last checkpoint is" in told and told.endswith("with --resume.")


def test_a_signal_waits_for_a_checkpoint_to_be_whole(make_trainer, monkeypatch):
    trainer = make_trainer([10.0, 20.0, 30.0, 40.0])
    save = torch.save

    def interrupted_save(content, file):
        if trainer.iter == 2:
            signal.raise_signal(signal.SIGINT)
        save(content, file)

    monkeypatch.setattr(torch, "save", interrupted_save)
    with pytest.raises(SystemExit):
        trainer.train()
    assert trainer.iter == 2
    resumed = make_trainer([40.0, 50.0], resume=True)
    assert resumed.start_iter == 3 and resumed.validation.validated == 1


def test_a_signal_before_a_step_loses_no_iteration(make_trainer, monkeypatch):
    """When the trainer counts the next iteration already."""
    rarely = ("SOLVER.CHECKPOINT_PERIOD", 10)  # so that the signal saves one
    trainer = make_trainer([10.0, 20.0, 30.0, 40.0], *rarely)
    before_step = trainer.before_step

    def interrupted():
        before_step()
        if trainer.iter == 2:
            signal.raise_signal(signal.SIGINT)

    trainer.before_step = interrupted
    with pytest.raises(SystemExit):
        trainer.train()
    resumed = make_trainer([40.0, 50.0], *rarely, resume=True)
    assert resumed.start_iter == 2


def test_a_signal_between_step_and_hooks_waits_for_them(make_trainer, monkeypatch):
    """Or the average of the weights would lag behind the checkpoint."""
    average = WeightAverage.after_step

    def interrupted(hook):
        if hook.trainer.iter == 2:
            signal.raise_signal(signal.SIGINT)
        average(hook)

    monkeypatch.setattr(WeightAverage, "after_step", interrupted)
    trainer = make_trainer([10.0, 20.0, 30.0], "SOLVER.EMA_DECAY", 0.9)
    with pytest.raises(SystemExit):
        trainer.train()
    content = torch.load(Path(trainer.cfg.OUTPUT_DIR, "model_0000002.pth"), weights_only=True)
    updates = [s["updates"] for s in find_dicts(content["trainer"], "updates")]
    assert content["iteration"] == 2 and updates == [3]
