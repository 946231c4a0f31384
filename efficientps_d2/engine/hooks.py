"""Trainer hooks: averaged weights, fixed norm statistics, time left, stopping on signals."""

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from efficientps_d2.utils.shell import shell_command

logger = logging.getLogger(__name__)


class WeightAverage(HookBase):
    """Keep an exponential moving average of the weights, to be evaluated and saved.

    The model of a checkpoint is the average, so that whoever loads it gets what was evaluated; the
    weights that are trained go with the state of this hook.
    """

    def __init__(self, model: nn.Module, decay: float):
        """
        Args:
            model: that is trained, not wrapped.
            decay: share of the average that a step keeps; less in the first steps.
        """
        self.trained, self.decay = model, decay
        self._average = AveragedModel(model, multi_avg_fn=self._mix, use_buffers=True)
        self._is_restored = False

    @property
    def model(self) -> nn.Module:
        """The model with averaged weights."""
        return self._average.module

    def _mix(self, average: list[Tensor], current: list[Tensor], _: Tensor) -> None:
        """Of all tensors of one type and device at once, without a wait for a GPU."""
        if not average[0].is_floating_point():  # batches that norms have counted
            torch._foreach_copy_(average, current)
            return
        updates = int(self._average.n_averaged)  # on the CPU
        decay = min(self.decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(average, current, 1 - decay)

    def state_dict(self) -> dict:
        """The weights that are trained, and the number of updates of the average."""
        return {
            "trained": self.trained.state_dict(),
            "updates": int(self._average.n_averaged),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from what :meth:`state_dict` gave; the average comes with the checkpoint itself."""
        self.trained.load_state_dict(state["trained"])
        self._average.n_averaged.fill_(state["updates"])
        self._is_restored = True

    def before_train(self):
        if not self._is_restored:  # the checkpointer has loaded weights into the average only
            self.trained.load_state_dict(self.model.state_dict())

    def after_step(self):
        self._average.update_parameters(self.trained)


class FreezeBatchNorm(HookBase):
    """Keep the statistics of all batch norms from an iteration on, as the paper does at the end.

    What was trained with the statistics of small, mixed batches then learns to do with fixed ones,
    as in inference. Scales and biases go on training.
    """

    def __init__(self, iteration: int):
        self.iteration = iteration

    def before_step(self):
        if self.trainer.iter < self.iteration:
            return
        if self.trainer.iter == self.iteration:
            logger.info("The statistics of all batch norms are fixed from here on.")
        for module in self.trainer.model.modules():
            if isinstance(module, _BatchNorm):  # an evaluation sets them to training again
                module.eval()


class FirstEstimate(HookBase):
    """Say after three iterations how long the training takes: the first losses may be far."""

    def before_step(self):
        if self.trainer.iter == self.trainer.start_iter + 1:  # the first one takes longer
            self.since = time.monotonic()

    def after_step(self):
        left = self.trainer.max_iter - self.trainer.iter - 1
        if self.trainer.iter == self.trainer.start_iter + 2 and left > 0:
            seconds = (time.monotonic() - self.since) / 2
            logger.info(
                "An iteration takes %.2g s: %s to the end, besides evaluations.",
                seconds,
                timedelta(seconds=round(seconds * left)),
            )


class StopOnSignal(HookBase):
    """On Ctrl-C or SIGTERM, finish the iteration, save a checkpoint and say how to go on."""

    in_step = False
    _previous: dict = {}  # handlers; none if another hook ended the training before it began

    def before_train(self):
        self.signal = None
        self.since = 0.0
        self.completed = self.trainer.start_iter - 1
        self._previous = {
            number: signal.signal(number, self._remember)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        logger.info("Ctrl-C stops after the iteration, saves a checkpoint and says how to go on.")

    def _remember(self, number, frame):
        if self.signal is not None:
            # One signal can come twice: from the terminal or job system, and passed on by a parent.
            if time.monotonic() - self.since < 2:
                return
            raise SystemExit(128 + number)
        self.signal, self.since = number, time.monotonic()
        busy = self.in_step or self.trainer.checkpointer.is_saving
        if comm.get_world_size() == 1 and not busy:
            self.stop()  # an evaluation may take long
        elif comm.is_main_process():
            print("\nStopping after this iteration; once more stops at once.", file=sys.stderr)

    def step_is_complete(self):
        """To be called after each iteration, once all hooks that train and save are done."""
        self.completed = self.trainer.iter
        self.in_step = False
        if comm.get_world_size() > 1:  # all processes must leave after the same iteration
            self.signal = max(comm.all_gather(self.signal or 0)) or None
        if self.signal is not None:
            self.stop()

    def stop(self):
        """Save a checkpoint of the last completed iteration, if there is none, and leave."""
        if comm.is_main_process() and self.completed >= self.trainer.start_iter:
            checkpointer = self.trainer.checkpointer
            self.trainer.iter = self.completed  # the next one may have begun, without a step yet
            # After the end the evaluated weights may be older ones, which must not replace it.
            if checkpointer.saved_iteration != self.completed:
                checkpointer.save(f"model_{self.completed:07d}", iteration=self.completed)
            done = "Stopped after iteration %d and saved a checkpoint; continue with: %s"
            if self.completed + 1 >= self.trainer.max_iter:
                done = "Stopped after the last iteration, %d; evaluate with: %s"
            logger.warning(done, self.completed, resume_command(sys.argv))
        comm.synchronize()
        self.after_train()  # which the trainer skips if it is in its last evaluation already
        raise SystemExit(128 + self.signal)

    def after_train(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def resume_command(argv: Sequence[str]) -> str:
    """The command that continues the run which ``argv`` began."""
    program, arguments = Path(argv[0]), [a for a in argv[1:] if a != "--resume"]
    if program.name == "__main__.py":
        command = ["python", "-m", program.parent.name]
    else:
        command = ["python", str(program)] if program.suffix == ".py" else [program.name]
    if arguments[:1] == ["train"]:
        command.append(arguments.pop(0))
    # Flags must stand before the config overrides.
    return shell_command([*command, "--resume", *arguments], needs_datasets=True)


def _leave_signals_to_the_parent() -> None:
    """Let a forked process die of a signal, as the pools of the evaluators expect."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if isinstance(getattr(signal.getsignal(number), "__self__", None), StopOnSignal):
            signal.signal(number, signal.SIG_DFL)


# Not in the handler: one that runs in Python can miss a signal while the process waits for a lock.
os.register_at_fork(after_in_child=_leave_signals_to_the_parent)
