"""Batch statistics that stay from an iteration on, and averages of weights."""

import multiprocessing
import shlex
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from efficientps_d2.engine.hooks import (
    FirstEstimate,
    FreezeBatchNorm,
    StopOnSignal,
    WeightAverage,
    resume_command,
)


def test_batch_statistics_stay_from_the_named_iteration_on():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    hook = FreezeBatchNorm(2)
    hook.trainer = SimpleNamespace(model=model, iter=0)
    means = []
    for iteration in range(5):
        hook.trainer.iter = iteration
        hook.before_step()
        model(torch.randn(2, 3, 8, 8) + iteration).sum().backward()
        means.append(model[1].running_mean.clone())
        model.train()  # as an evaluation in between leaves it
    assert not torch.equal(means[0], means[1]), "statistics are learned before"
    assert all(torch.equal(mean, means[1]) for mean in means[2:])
    assert model[1].weight.grad.abs().sum() > 0 and model[1].weight.requires_grad


@pytest.mark.parametrize(("last", "said"), [(43, "2 s: 0:01:20 to the end"), (3, ""), (2, "")])
def test_the_time_to_the_end_is_said_early(last, said, monkeypatch, caplog):
    """Iterations from 3 on, of 2 s each; not where nothing would be left."""
    caplog.set_level("INFO", "efficientps_d2.engine.hooks")
    now, hook = [0.0], FirstEstimate()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    hook.trainer = SimpleNamespace(start_iter=3, max_iter=last + 3)
    for iteration in range(3, min(hook.trainer.max_iter, 12)):
        hook.trainer.iter = iteration
        hook.before_step()
        now[0] += 60.0 if iteration == 3 else 2.0
        hook.after_step()
    assert said in caplog.text and len(caplog.records) == bool(said)


def small_model() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))


def steps(hook: WeightAverage, values) -> None:
    """As a training whose weight and running mean take these values."""
    hook.before_train()
    for value in values:
        hook.trained[0].weight.data.fill_(value)
        hook.trained[1].running_mean.fill_(10 * value)
        hook.trained[1].num_batches_tracked += 1
        hook.after_step()


def test_weights_are_averaged():
    hook = WeightAverage(small_model(), 0.75)
    values = [1.0, 2.0, 3.0] + [8.0, 4.0] * 25
    steps(hook, values)
    # The first values count until enough of them are there: (1 + n) / (10 + n) of the average.
    expected, updates = 1.0, 1
    for value in values[1:]:
        decay = min(0.75, (1 + updates) / (10 + updates))
        expected, updates = decay * expected + (1 - decay) * value, updates + 1
        if updates == 4:
            assert expected > 3, "a bad start is soon forgotten"
    assert hook.model[0].weight.item() == pytest.approx(expected, rel=1e-6)
    assert hook.model[1].running_mean.item() == pytest.approx(10 * expected, rel=1e-5)
    assert hook.model[1].num_batches_tracked == hook.trained[1].num_batches_tracked == 53
    assert hook.trained[0].weight.item() == 4.0, "the training goes on with its own"


def test_a_resumed_average_goes_on():
    values = [float(v) for v in range(1, 31)]
    whole = WeightAverage(small_model(), 0.9)
    steps(whole, values)

    first = WeightAverage(small_model(), 0.9)
    steps(first, values[:11])
    state, checkpoint = first.state_dict(), first.model.state_dict()
    resumed = WeightAverage(small_model(), 0.9)
    resumed.model.load_state_dict(checkpoint)  # as the checkpointer does
    resumed.load_state_dict(state)
    resumed.before_train()
    assert resumed.trained[0].weight.item() == 11.0
    steps(resumed, values[11:])
    assert resumed.model[0].weight.item() == pytest.approx(whole.model[0].weight.item())


def test_finetuning_starts_from_the_loaded_weights():
    """The checkpointer loads them into the average, which is what it saves."""
    hook = WeightAverage(small_model(), 0.9)
    hook.model[0].weight.data.fill_(7.0)
    hook.before_train()
    assert hook.trained[0].weight.item() == 7.0


def handlers(_) -> list:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_forked_processes_die_of_signals():
    """Of the pool of an evaluator during a training, which otherwise can wait for ever to end."""
    hook = StopOnSignal()
    hook.trainer = SimpleNamespace(start_iter=0)
    hook.before_train()
    try:
        assert handlers(None) == [hook._remember, hook._remember]
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.map(handlers, [None]) == [[signal.SIG_DFL, signal.SIG_DFL]]
    finally:
        hook.after_train()


@pytest.mark.parametrize(
    ("began", "goes_on"),
    [
        (["train_net.py"], "python train_net.py --resume"),
        (["/env/bin/efficientps-d2", "train"], "efficientps-d2 train --resume"),
        (["/src/efficientps_d2/__main__.py", "train"], "python -m efficientps_d2 train --resume"),
    ],
)
def test_the_command_that_goes_on(began, goes_on, monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    arguments = ["--config-file", "a b.yaml", "OUTPUT_DIR", "train"]
    expected = f"{goes_on} --config-file 'a b.yaml' OUTPUT_DIR train"
    assert resume_command([*began, *arguments]) == expected
    assert resume_command([*began, "--resume", *arguments]) == expected


def test_the_command_can_be_pasted(monkeypatch):
    """Also where the datasets are is part of it."""
    monkeypatch.setenv("DETECTRON2_DATASETS", "/my data")
    words = ["train_net.py", "DATASETS.TRAIN", "('mine_train',)", "OUTPUT_DIR", "it's $HOME"]
    command = resume_command(words)
    assert command.startswith("DETECTRON2_DATASETS='/my data' python train_net.py --resume")
    assert """ "('mine_train',)" """ in command
    assert shlex.split(command)[4:] == words[1:]
