"""Trainer hooks: fixed batch norm statistics, and stopping on signals."""

import logging
import os
import shlex
import signal
import sys
import time

from detectron2.engine import HookBase
from detectron2.utils import comm
from torch.nn.modules.batchnorm import _BatchNorm

logger = logging.getLogger(__name__)


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


class StopOnSignal(HookBase):
    """On Ctrl-C or SIGTERM, finish the iteration, save a checkpoint and say how to go on."""

    def before_train(self):
        self.signal = None
        self.since = 0.0
        self.in_step = False
        self.completed = self.trainer.start_iter - 1
        self._process = os.getpid()
        self._previous = {
            number: signal.signal(number, self._remember)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        logger.info("Ctrl-C stops after the iteration, saves a checkpoint and says how to go on.")

    def _remember(self, number, frame):
        if os.getpid() != self._process:  # a process that an evaluator has forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.signal is not None:
            # One signal can come twice: from the terminal or job system, and passed on by a parent.
            if time.monotonic() - self.since < 2:
                return
            raise SystemExit(128 + number)
        self.signal, self.since = number, time.monotonic()
        if comm.get_world_size() == 1 and not self.in_step:
            self.stop()  # an evaluation may take long
        elif comm.is_main_process():
            print("\nStopping after this iteration; once more stops at once.", file=sys.stderr)

    def after_step(self):
        if comm.get_world_size() > 1:  # all processes must leave after the same iteration
            self.signal = max(comm.all_gather(self.signal or 0)) or None
        if self.signal is not None:
            self.stop()

    def stop(self):
        """Save a checkpoint of the last completed iteration and leave."""
        if comm.is_main_process() and self.completed >= self.trainer.start_iter:
            name = f"model_{self.completed:07d}"
            self.trainer.checkpointer.save(name, iteration=self.completed)
            # Flags must stand before the config overrides.
            flags = [a for a in sys.argv[1:] if a != "--resume"]
            command = shlex.join(["python", sys.argv[0], "--resume", *flags])
            logger.warning(
                "Stopped after iteration %d and saved a checkpoint; continue with: %s",
                self.completed,
                command,
            )
        comm.synchronize()
        raise SystemExit(128 + self.signal)

    def after_train(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)
