"""Detectron2's trainer with our mapper and evaluators, and manners when something goes wrong."""

import logging
import os
import shlex
import signal
import sys
import time
import weakref
from collections import OrderedDict

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper, build_detection_test_loader, build_detection_train_loader
from detectron2.data import detection_utils as utils
from detectron2.data.build import worker_init_reset_seed
from detectron2.engine import DefaultTrainer, HookBase
from detectron2.utils import comm
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from .dataset_mapper import DAMAGED, PanopticDatasetMapper, check_panoptic_truth
from .errors import InputError
from .evaluation import build_panoptic_evaluator, results_table

logger = logging.getLogger(__name__)


class FittingCheckpointer(DetectionCheckpointer):
    """Loads weights only if they fit.

    For finetuning, parameters of another shape are named by Detectron2's log and start anew, but at
    least one must match. With ``strict``, for evaluation and resuming, all must.
    """

    strict = False

    def save(self, name: str, **kwargs):
        """As in the base class; diverged weights never replace good ones as the last checkpoint."""
        bad = [k for k, v in self.model.state_dict().items() if not torch.isfinite(v).all()]
        if bad:
            raise SystemExit(
                f"Error: {bad[0]} became NaN or infinite, so {name} was not saved; lower "
                "SOLVER.BASE_LR or lengthen SOLVER.WARMUP_ITERS."
            )
        super().save(name, **kwargs)

    def _load_file(self, filename: str):
        try:
            return super()._load_file(filename)
        except FileNotFoundError:
            raise
        except Exception as error:  # torch.load raises many kinds for damaged files
            raise InputError(
                f"{filename} cannot be read as a checkpoint; it may be truncated or of another "
                "kind."
            ) from error

    def _load_model(self, checkpoint):
        expected = set(self.model.state_dict())
        incompatible = super()._load_model(checkpoint)
        wrong_shapes = [key for key, *_ in incompatible.incorrect_shapes]
        lost = [k for k in [*wrong_shapes, *incompatible.missing_keys] if k in expected]
        if lost and (self.strict or len(lost) == len(expected)):
            what = "has another shape" if lost[0] in wrong_shapes else "is missing"
            raise InputError(
                f"The checkpoint does not fit this config: {lost[0]} {what} in it ({len(lost)} of "
                f"{len(expected)} tensors); use the config it was trained with."
            )
        return incompatible


class EvaluationMapper(DatasetMapper):
    """Detectron2's mapper; unreadable images and truths that contradict the JSON are errors."""

    def __call__(self, record):
        """As in :class:`DatasetMapper`."""
        try:
            image = utils.read_image(record["file_name"], format="RGB")
            pan_seg = utils.read_image(record["pan_seg_file_name"], format="RGB")
            check_panoptic_truth(record, image, pan_seg, record["segments_info"])
            return super().__call__(record)
        except DAMAGED as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{record['file_name']} or its panoptic PNG cannot be read ({reason}); an "
                "evaluation needs every image, so repair it or take it out of the data set."
            ) from error


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


def leave_process_group(worker_id: int) -> None:
    """Keep signals for the whole group from loader processes: the trainer decides when to stop."""
    worker_init_reset_seed(worker_id)
    if hasattr(os, "setsid"):
        os.setsid()


class Trainer(DefaultTrainer):
    """Trains and evaluates any model of this project on any panoptic data set."""

    def __init__(self, cfg: CfgNode):
        batch, reference = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.REFERENCE_WORLD_SIZE
        if reference and batch % reference:
            raise InputError(
                f"SOLVER.IMS_PER_BATCH {batch} is no multiple of SOLVER.REFERENCE_WORLD_SIZE "
                f"{reference}; set SOLVER.REFERENCE_WORLD_SIZE 0 to take the schedule as it is."
            )
        super().__init__(cfg)
        self.model.register_forward_hook(self._check_losses)

    @classmethod
    def build_model(cls, cfg):
        """As in :class:`DefaultTrainer`.

        Raises:
            InputError: if a value of the config names something that does not exist.
        """
        try:
            return super().build_model(cfg)
        except InputError:
            raise
        except (KeyError, ValueError, RuntimeError, AssertionError, AttributeError) as error:
            raise InputError(
                f"The model cannot be built from this config: {' '.join(str(error).split())}; "
                "correct the key below MODEL that says so."
            ) from error

    @classmethod
    def build_train_loader(cls, cfg):
        loader = build_detection_train_loader(cfg, mapper=PanopticDatasetMapper(cfg))
        # With aspect ratio grouping the loader of the processes is wrapped.
        inner = loader if isinstance(loader, DataLoader) else loader.dataset
        inner.worker_init_fn = leave_process_group
        return loader

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        mapper = EvaluationMapper(cfg, False)
        loader = build_detection_test_loader(cfg, dataset_name, mapper=mapper)
        loader.worker_init_fn = leave_process_group
        return loader

    @classmethod
    def build_evaluator(cls, cfg, dataset_name, output_folder=None):
        folder = output_folder or os.path.join(cfg.OUTPUT_DIR, "inference")
        return build_panoptic_evaluator(cfg, dataset_name, folder)

    @classmethod
    def test(cls, cfg, model, evaluators=None) -> OrderedDict:
        """Evaluate on ``DATASETS.TEST``; also logs one table and writes it to ``results.md``."""
        results = super().test(cfg, model, evaluators)
        if comm.is_main_process():
            several = len(cfg.DATASETS.TEST) > 1
            tables = []
            for name in cfg.DATASETS.TEST:
                of_dataset = results[name] if several else results
                tables.append(f"Results on {name}\n\n{results_table(of_dataset)}\n")
            text = "\n".join(tables)
            logger.info("\n%s", text)
            with open(os.path.join(cfg.OUTPUT_DIR, "results.md"), "w") as f:
                f.write(text)
        return results

    def build_hooks(self):
        # DefaultTrainer has no factory for its checkpointer, and the hooks are about to use it.
        self.checkpointer = FittingCheckpointer(
            self.checkpointer.model, self.cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        # Last, so that the schedule has made its step when a checkpoint is saved.
        self.stop_on_signal = StopOnSignal()
        hooks = [*super().build_hooks(), self.stop_on_signal]
        if self.cfg.SOLVER.FREEZE_BN_ITER > 0:
            hooks.append(FreezeBatchNorm(self.cfg.SOLVER.FREEZE_BN_ITER))
        return hooks

    def resume_or_load(self, resume: bool = True):
        if resume and not self.checkpointer.has_checkpoint():
            logger.info("%s has no checkpoint to resume: starting anew.", self.cfg.OUTPUT_DIR)
        self.checkpointer.strict = resume and self.checkpointer.has_checkpoint()
        super().resume_or_load(resume)

    def run_step(self):
        self.stop_on_signal.in_step = True
        try:
            super().run_step()
        except InputError as error:  # of a loader process: the message holds its whole traceback
            raise SystemExit(f"Error: {one_sentence(error)}") from error
        except FloatingPointError as error:  # Detectron2's RPN looks before there is any loss
            self._stop_diverged(f"the RPN's output ({error})")
        self.stop_on_signal.completed = self.iter
        self.stop_on_signal.in_step = False

    def _check_losses(self, model, inputs, losses):
        """Stop before a loss that is not finite reaches the weights, and name its term."""
        if not model.training:
            return
        finite = torch.stack([x.detach() for x in losses.values()]).isfinite().tolist()
        bad = [name for name, ok in zip(losses, finite, strict=True) if not ok]
        if bad:
            self._stop_diverged(" and ".join(bad))

    def _stop_diverged(self, what: str):
        last = "no checkpoint was saved"
        if self.checkpointer.has_checkpoint():
            last = f"the last checkpoint is {self.checkpointer.get_checkpoint_file()}"
        raise SystemExit(
            f"Error: {what} became NaN or infinite in iteration {self.iter}; training stopped, "
            f"{last}; lower SOLVER.BASE_LR or lengthen SOLVER.WARMUP_ITERS."
        )


def one_sentence(error: Exception) -> str:
    """The message of an InputError, without the traceback that another process wraps around it."""
    return str(error).strip().splitlines()[-1].removeprefix(f"{InputError.__module__}.InputError: ")
