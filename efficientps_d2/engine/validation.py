"""Validation during a training: the best checkpoint, and stopping early."""

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm

from efficientps_d2.checkpoint.checkpointer import BEST, FINAL, FittingCheckpointer
from efficientps_d2.evaluation.results import HEADLINE, VALIDATION
from efficientps_d2_runtime.errors import InputError

logger = logging.getLogger(__name__)


STATE = ("metric", "best", "best_iteration", "validated", "since_best")


class EarlyStop(BaseException):  # no Exception, which Detectron2 would log as a failure
    """The end of a training whose metric no longer improves."""


def broadcast(tensors: Iterable[torch.Tensor]) -> None:
    """Give all processes the values of the main one, in place."""
    if comm.get_world_size() > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor, src=0)


class Validation(HookBase):
    """Evaluate every ``period`` iterations and at the end; keep the best weights.

    The best weights are in ``model_best.pth`` with their iteration. At the end they are loaded into
    the model that is evaluated, unless the last are the best. All of it survives ``--resume``.
    """

    def __init__(
        self,
        period: int,
        evaluate: Callable[[bool], dict],
        losses: Callable[[], dict[str, float]],
        checkpointer: FittingCheckpointer,
        *,
        metric: str = "panoptic_seg/PQ",
        patience: int = 0,
    ):
        """
        Args:
            period: iterations between two evaluations; 0 for one at the end only.
            evaluate: gives the nested dict of metrics; its argument says whether it is the last
                evaluation, which writes all files of a run.
            losses: gives the losses on the validation images, by name.
            checkpointer: of the model that is evaluated.
            metric: the name of the metric to maximise.
            patience: evaluations without a better value after which training stops; 0 for never.
        """
        self.period, self.patience, self.metric = period, patience, metric
        self.checkpointer = checkpointer
        self._evaluate, self._losses = evaluate, losses
        self.best, self.best_iteration = -math.inf, -1
        self.validated = -1  # the last iteration that was
        self.since_best = 0  # evaluations
        self.results: dict = {}  # of the last evaluation, at the end

    def state_dict(self) -> dict:
        """The best value so far, and how long ago it was."""
        return {name: getattr(self, name) for name in STATE} if self.period else {}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what :meth:`state_dict` gave; without a period nothing of it matters."""
        if not self.period or not state:
            return
        metric = state.get("metric", self.metric)
        if metric != self.metric:
            logger.warning(
                "Until here %s was maximised: %s starts without a best value.", metric, self.metric
            )
            state = {"validated": state["validated"]}
        for name in STATE:
            setattr(self, name, state.get(name, getattr(self, name)))

    def before_train(self):
        """Make up for an evaluation that was interrupted after its iteration was saved."""
        last = self.trainer.start_iter - 1
        if self._is_due(last) and self.validated < last:
            self.trainer.iter = self.trainer.storage.iter = last
            self._validate()

    def after_step(self):
        if self._is_due(self.trainer.iter):
            self._validate()

    def after_train(self):
        if self.trainer.iter < self.trainer.max_iter:  # stopped by a signal or an error
            return
        last = self.trainer.max_iter - 1
        if self.period and self.validated != last:
            self._put(self._losses(), VALIDATION)
        if self.validated != last or self.best_iteration in (-1, last):
            results = self._evaluate(True)
            self._note(results, last)
        if self.period and 0 <= self.best_iteration != last:
            self._load_best()
            results = self._evaluate(True)
        self._put(results)
        self.results = results

    def _is_due(self, iteration: int) -> bool:
        done = iteration + 1
        return self.period > 0 and 0 < done < self.trainer.max_iter and done % self.period == 0

    def _validate(self) -> None:
        self._put(self._losses(), VALIDATION)
        results = self._evaluate(False)
        self._note(results, self.trainer.iter)
        self._put(results)
        comm.synchronize()
        if self.patience_is_over:
            self._stop()

    def _put(self, metrics: dict, group: str = "") -> None:
        """Write metrics, which may be nested, to the storage of the training."""
        metrics = {group: metrics} if group else metrics
        self.trainer.storage.put_scalars(**flatten_results_dict(metrics), smoothing_hint=False)

    def _note(self, results: dict, iteration: int) -> None:
        """Compare with the best value so far, and save the weights if this one is better."""
        metrics = comm.all_gather(flatten_results_dict(results))[0]  # only the main process has any
        if not self.period or not metrics:
            return
        value = metrics.get(self.metric)
        if value is None:
            known = ", ".join(sorted(name for name in metrics if "-" not in name.split("/")[-1]))
            raise InputError(f"TEST.BEST_METRIC is {self.metric!r}; use one of {known}.")
        # Under a name of its own: at the end the metrics of the best weights take the other one.
        curves = {self.metric, HEADLINE, f"{HEADLINE}_th"} & metrics.keys()
        self._put({name: metrics[name] for name in curves}, VALIDATION)
        value = float(value)  # NumPy's numbers could not be read again
        if math.isnan(value):  # for instance AP where nothing is predicted
            value = -math.inf
        if value > self.best or self.best_iteration < 0:
            # Saved first: a checkpoint must not know of a best that is not there.
            self.checkpointer.save_weights(BEST, iteration=iteration, metric={self.metric: value})
            self.best, self.best_iteration, self.since_best = value, iteration, 0
            logger.info("%s is %.2f, the best of this run; saved %s.pth.", self.metric, value, BEST)
        else:
            self.since_best += 1
            text = "%s is %.2f; the best was %.2f in iteration %d."
            logger.info(text, self.metric, value, self.best, self.best_iteration)
        self.validated = iteration

    def _load_best(self) -> None:
        """Read by the main process, which saved it: others may have no disk in common with it."""
        file = Path(self.checkpointer.save_dir, f"{BEST}.pth")
        if comm.is_main_process():
            if not file.is_file():
                raise InputError(f"{file}, the best checkpoint, was removed; keep it to the end.")
            self.checkpointer.load(str(file), checkpointables=[])
        broadcast(self.checkpointer.model.state_dict().values())
        logger.info("Took the best weights, of iteration %d.", self.best_iteration)

    @property
    def patience_is_over(self) -> bool:
        """Whether training ends, or has ended, because nothing improves."""
        return 0 < self.patience <= self.since_best

    def _stop(self) -> None:
        logger.info(
            "Stopped: %s has not improved for %d evaluations (TEST.PATIENCE).",
            self.metric,
            self.since_best,
        )
        self.checkpointer.save(FINAL, iteration=self.trainer.iter)
        self.trainer.iter += 1
        self.trainer.max_iter = self.trainer.iter  # so that all hooks see the end
        raise EarlyStop
