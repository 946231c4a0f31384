"""Evaluation of a checkpoint, as ``--eval-only`` asks for it."""

import os
from collections import OrderedDict

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, JSONWriter

from efficientps_d2.checkpoint.checkpointer import BEST, FittingCheckpointer
from efficientps_d2.deploy.optimize import optimize_for_inference
from efficientps_d2.engine.trainer import Trainer


def evaluate(cfg: CfgNode, resume: bool = False) -> OrderedDict:
    """Evaluate on ``DATASETS.TEST``; also adds a line to ``OUTPUT_DIR/metrics.json``.

    Args:
        cfg: of :func:`setup`; with ``TEST.AUG.ENABLED`` also with test-time augmentation.
        resume: take the weights of the run in ``OUTPUT_DIR``, its best if it looked for them.
    """
    model = Trainer.build_model(cfg)
    checkpointer = FittingCheckpointer(model, save_dir=cfg.OUTPUT_DIR)
    checkpointer.strict = True
    best = os.path.join(cfg.OUTPUT_DIR, f"{BEST}.pth")
    # What the run has saved as its model; without a period, a file of that name is an old one.
    if resume and cfg.TEST.EVAL_PERIOD and os.path.isfile(best):
        checkpointer.load(best)
    else:
        checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    results = Trainer.test(cfg, optimize_for_inference(model, masks=True))
    if cfg.TEST.AUG.ENABLED:
        results.update(Trainer.test_with_TTA(cfg, model))
    if comm.is_main_process():
        _write_metrics(results, cfg.OUTPUT_DIR)
        verify_results(cfg, results)
    return results


def _write_metrics(results: dict, folder: str) -> None:
    """Add a line to metrics.json, as a training does after its evaluations."""
    with EventStorage() as storage:
        storage.put_scalars(**flatten_results_dict(results), smoothing_hint=False)
        JSONWriter(os.path.join(folder, "metrics.json")).write()
