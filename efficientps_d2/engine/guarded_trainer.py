"""Steps of a training that end in one sentence when something goes wrong."""

import contextlib

import torch
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

from efficientps_d2.data.training_order import seed_all
from efficientps_d2_runtime.errors import DISK, InputError, one_line, one_sentence


class GuardedTrainer(DefaultTrainer):
    """Stops at losses that are not finite, at data that cannot be read, and at broken disks.

    A subclass sets ``stop_on_signal`` and calls :meth:`guard_losses` once it has a model.
    """

    def guard_losses(self) -> None:
        """Look at the losses of each step."""
        self.model.register_forward_hook(self._check_losses)

    def build_writers(self):
        # Detectron2 imports this in the first write. Ctrl-C would leave it half imported, so that
        # the last write would fail.
        import torch.utils.tensorboard  # noqa: F401

        return super().build_writers()

    def run_step(self):
        self.stop_on_signal.in_step = True
        # What the model draws, such as boxes to learn from: the same after a resume.
        seed_all(self.cfg.SEED, self.iter, comm.get_rank())
        try:
            super().run_step()
        except InputError as error:  # of a loader process: the message holds its whole traceback
            raise SystemExit(f"Error: {one_sentence(error)}") from error
        except FloatingPointError as error:  # Detectron2's RPN looks before there is any loss
            self._stop_diverged(f"the RPN's output ({error})")
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise SystemExit(
                f"Error: a loader process died ({one_line(error)}); training stopped, "
                f"{self._last_checkpoint()}; lower DATALOADER.NUM_WORKERS if the memory was full, "
                "and run the same command with --resume."
            ) from error

    def after_step(self):
        with self._naming_disks():
            super().after_step()

    def after_train(self):
        # Detectron2 counts one more, also if a complete run is resumed.
        self.iter = min(self.iter, max(self.start_iter, self.max_iter))
        with self._naming_disks():
            super().after_train()

    @contextlib.contextmanager
    def _naming_disks(self):
        """Metrics are written outside of what names the errors of checkpoints."""
        try:
            yield
        except OSError as error:
            if error.errno not in DISK:
                raise
            raise SystemExit(
                f"Error: {self.cfg.OUTPUT_DIR} cannot be written ({error.strerror}); check "
                "its disk and run the same command with --resume."
            ) from error

    def _check_losses(self, model, inputs, losses):
        """Stop before a loss that is not finite reaches the weights, and name its term."""
        if not self.stop_on_signal.in_step:  # but in a validation
            return
        finite = torch.stack([x.detach() for x in losses.values()]).isfinite().tolist()
        bad = [name for name, ok in zip(losses, finite, strict=True) if not ok]
        if bad:
            self._stop_diverged(" and ".join(bad))

    def _stop_diverged(self, what: str):
        raise SystemExit(
            f"Error: {what} became NaN or infinite in iteration {self.iter}; training stopped, "
            f"{self._last_checkpoint()}; lower SOLVER.BASE_LR or lengthen SOLVER.WARMUP_ITERS."
        )

    def _last_checkpoint(self) -> str:
        if self.checkpointer.has_checkpoint():
            return f"the last checkpoint is {self.checkpointer.get_checkpoint_file()}"
        return "no checkpoint was saved"
