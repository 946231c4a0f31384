"""Detectron2's trainer with panoptic data, evaluators and clear failures."""

import contextlib
import logging
import os
import weakref
from collections import OrderedDict
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import TrainerBase, create_ddp_model
from detectron2.engine.hooks import CallbackHook, EvalHook, PeriodicCheckpointer, PeriodicWriter
from detectron2.utils import comm

from efficientps_d2.checkpoint.checkpoint_files import set_aside
from efficientps_d2.checkpoint.checkpointer import BEST, FittingCheckpointer
from efficientps_d2.checkpoint.model_card import write_card
from efficientps_d2.checkpoint.saved_model import save_model
from efficientps_d2.config.building import naming_bad_keys
from efficientps_d2.config.check import check_values
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2.data.loaders import build_test_loader, build_train_loader
from efficientps_d2.engine.guarded_trainer import GuardedTrainer
from efficientps_d2.engine.hooks import FirstEstimate, FreezeBatchNorm, StopOnSignal, WeightAverage
from efficientps_d2.engine.logs import log_next_steps
from efficientps_d2.engine.mirror import mirror_of
from efficientps_d2.engine.optimizer import build_optimizer, scaled_to_workers
from efficientps_d2.engine.step_trainer import StepTrainer
from efficientps_d2.engine.validation import EarlyStop, Validation, broadcast
from efficientps_d2.engine.validation_losses import validation_losses
from efficientps_d2.evaluation.build import build_panoptic_evaluator
from efficientps_d2.evaluation.results import (
    FOLDER,
    FOLDER_TTA,
    FOLDER_VALIDATION,
    replacing_results,
    write_results,
    write_tables,
)
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA
from efficientps_d2_runtime.errors import InputError

logger = logging.getLogger(__name__)

RESULTS = "results.md"


class Trainer(GuardedTrainer):
    """Trains and evaluates any model of this project on any panoptic dataset."""

    def __init__(self, cfg: CfgNode):
        check_values(cfg)  # a copy of train_net.py may have changed some
        cfg = scaled_to_workers(cfg, comm.get_world_size())
        # What follows is DefaultTrainer's, which has no way to train in several processes on CPUs.
        TrainerBase.__init__(self)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        devices = [comm.get_local_rank()] if model.device.type == "cuda" else None
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=devices)
        self._trainer = StepTrainer.of_config(cfg, model, data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.start_iter, self.max_iter, self.cfg = 0, cfg.SOLVER.MAX_ITER, cfg
        self.register_hooks(self.build_hooks())
        self.guard_losses()

    @classmethod
    def build_model(cls, cfg):
        """As in :class:`DefaultTrainer`; errors as those of :func:`build_network`."""
        with naming_bad_keys(cfg):
            model = super().build_model(cfg)
        parameters = sum(p.numel() for p in model.parameters())
        logger.info("%s with %s parameters.", cfg.MODEL.META_ARCHITECTURE, f"{parameters:,}")
        return model

    @classmethod
    def build_optimizer(cls, cfg, model):
        """See :func:`build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg):
        """See :func:`build_train_loader`."""
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        """See :func:`build_test_loader`."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg, dataset_name, output_folder=None):
        folder = output_folder or os.path.join(cfg.OUTPUT_DIR, FOLDER)
        return build_panoptic_evaluator(cfg, dataset_name, folder)

    @classmethod
    def test(cls, cfg, model, evaluators=None) -> OrderedDict:
        """Evaluate on ``DATASETS.TEST``; also logs tables and writes them to ``results.md``."""
        return cls._test(cfg, model, evaluators, FOLDER, RESULTS)

    @classmethod
    def test_with_TTA(cls, cfg, model) -> OrderedDict:  # noqa: N802  Detectron2's name
        """As :meth:`test`, with test-time augmentation; the names of all tasks end in ``_TTA``."""
        logger.info("Evaluating with test-time augmentation.")
        folder = os.path.join(cfg.OUTPUT_DIR, FOLDER_TTA)
        evaluators = [cls.build_evaluator(cfg, name, folder) for name in cfg.DATASETS.TEST]
        augmented = PanopticTTA.of_config(cfg, model)
        file = RESULTS.replace(".", "_TTA.")
        results = cls._test(cfg, augmented, evaluators, FOLDER_TTA, file)
        return OrderedDict((f"{task}_TTA", values) for task, values in results.items())

    @classmethod
    def _test(cls, cfg, model, evaluators, folder: str, file: str) -> OrderedDict:
        """Evaluate, and write the table and what a report needs; nothing without a dataset."""
        if not cfg.DATASETS.TEST:
            return OrderedDict()
        folder, names = os.path.join(cfg.OUTPUT_DIR, folder), cfg.DATASETS.TEST
        if not comm.is_main_process():
            return super().test(cfg, model, evaluators)
        with replacing_results(folder, names):
            results = super().test(cfg, model, evaluators)
            of_datasets = results if len(names) > 1 else {names[0]: results}
            write_tables(cfg, of_datasets, file)
            for name, metrics in of_datasets.items():
                write_results(folder, name, metrics)
        return results

    def _evaluate(self, last: bool) -> OrderedDict:
        """The metrics of the evaluated model; the last evaluation also writes a run's files."""
        model = self.checkpointer.model
        # Statistics of norms differ between processes; those of the first are saved.
        broadcast(model.buffers())
        if last or not self.cfg.DATASETS.TEST:
            self._last_eval_results = self.test(self.cfg, model)  # for TEST.EXPECTED_RESULTS
            return self._last_eval_results
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.TEST.PICTURES, cfg.TEST.SAVE_PANOPTIC = 0, False
        folder = os.path.join(cfg.OUTPUT_DIR, FOLDER_VALIDATION)
        evaluators = [self.build_evaluator(cfg, name, folder) for name in cfg.DATASETS.TEST]
        return super().test(cfg, model, evaluators)

    def _evaluate_with_tta(self) -> OrderedDict | None:
        """At the end, but not of a training that a signal stopped in its last iteration."""
        done = self.iter >= self.max_iter
        return self.test_with_TTA(self.cfg, self.checkpointer.model) if done else None

    def build_hooks(self):
        """Detectron2's hooks and ours.

        The schedule has made its step when a checkpoint is saved, also that of a signal.
        """
        cfg, average = self.cfg, None
        model = getattr(self.model, "module", self.model)  # of several processes
        if cfg.SOLVER.EMA_DECAY:
            if cfg.TEST.PRECISE_BN.ENABLED:
                raise InputError(
                    "TEST.PRECISE_BN.ENABLED would not reach the averaged weights, which have "
                    "statistics of their own; set it False, or SOLVER.EMA_DECAY 0."
                )
            average = WeightAverage(model, cfg.SOLVER.EMA_DECAY)
            model = average.model
        self.checkpointer = FittingCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.mirror = mirror_of(cfg, self.checkpointer)
        hooks = [hook for hook in super().build_hooks() if hook is not None]
        # An evaluation that fails must not cost the iterations before it: the checkpoint is first.
        savers = [h for h in hooks if isinstance(h, PeriodicCheckpointer)]
        for saver in savers:
            saver.max_to_keep = cfg.SOLVER.CHECKPOINTS_KEPT or None
        writers = [h for h in hooks if isinstance(h, PeriodicWriter)]
        hooks = [h for h in hooks if not isinstance(h, EvalHook) and h not in savers + writers]
        hooks.append(FirstEstimate())
        if average is not None:
            hooks.append(average)
        if cfg.SOLVER.FREEZE_BN_ITER > 0:
            hooks.append(FreezeBatchNorm(cfg.SOLVER.FREEZE_BN_ITER))
        self.validation = self._build_validation()
        evaluations = [self.validation]
        evaluations.append(CallbackHook(after_train=lambda _: self._save_model()))
        if cfg.TEST.AUG.ENABLED:
            PanopticTTA.of_config(cfg, model)  # mistakes show now, not after the training
            evaluations.append(EvalHook(0, self._evaluate_with_tta))
        stop = self.stop_on_signal = StopOnSignal()
        # Before an evaluation, which may take long, and which --resume makes up for.
        after_saving = CallbackHook(after_step=lambda _: stop.step_is_complete())
        return [*hooks, *savers, after_saving, *evaluations, *writers, stop]

    def _build_validation(self) -> Validation:
        cfg, sets = self.cfg, self.cfg.DATASETS.TEST
        metric = cfg.TEST.BEST_METRIC
        if len(set(sets)) > 1 and not metric.startswith(tuple(f"{name}/" for name in sets)):
            metric = f"{sets[0]}/{metric}"  # as the metrics of several test sets are named
        return Validation(
            cfg.TEST.EVAL_PERIOD,
            self._evaluate,
            lambda: validation_losses(cfg, self.checkpointer.model),
            self.checkpointer,
            metric=metric,
            patience=cfg.TEST.PATIENCE,
        )

    def resume_or_load(self, resume: bool = True):
        if resume and not self.checkpointer.has_checkpoint():
            logger.info(
                "%s has no checkpoint to resume: starting from the beginning.", self.cfg.OUTPUT_DIR
            )
        if not resume and self.checkpointer.has_checkpoint():
            logger.warning(
                "%s holds a run that --resume would continue; this one starts from the beginning.",
                self.cfg.OUTPUT_DIR,
            )
        self.checkpointer.strict = resume and self.checkpointer.has_checkpoint()
        super().resume_or_load(resume)
        self._trainer.data_loader.batch_sampler.start_iteration = self.start_iter
        if self.validation.patience_is_over:
            logger.info("This run has stopped early; a larger TEST.PATIENCE lets it go on.")
            self.max_iter = self.start_iter
        elif self.start_iter >= self.max_iter:
            logger.info("This run has had its %d iterations already.", self.start_iter)
        else:
            logger.info("Training from iteration %d to %d.", self.start_iter, self.max_iter - 1)

    def train(self):
        """As in :class:`DefaultTrainer`; leaves a saved model in ``OUTPUT_DIR/model``."""
        if comm.is_main_process():
            Path(self.cfg.OUTPUT_DIR, RESULTS).unlink(missing_ok=True)
            if self.start_iter == 0:  # or --resume would take them for this run's
                set_aside(self.cfg.OUTPUT_DIR, f"{BEST}.pth")
        with contextlib.suppress(EarlyStop):
            super().train()
        log_next_steps(self.cfg)
        if self.mirror and comm.is_main_process():
            self.mirror.copy()
        return self.validation.results

    def _save_model(self) -> None:
        """At the end, before an augmented evaluation, which may take long."""
        if self.iter < self.max_iter or not comm.is_main_process():
            return
        metadata = dataset_metadata(self.cfg.DATASETS.TRAIN[0])
        model = self.checkpointer.model  # the best, if there were evaluations
        folder = save_model(Path(self.cfg.OUTPUT_DIR, "model"), model, self.cfg, metadata)
        table = Path(self.cfg.OUTPUT_DIR, RESULTS)
        write_card(folder, self.cfg, table.read_text() if table.is_file() else "")
        logger.info("Saved %s, all that predicting elsewhere needs.", folder)
