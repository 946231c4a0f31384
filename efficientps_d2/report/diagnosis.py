"""What went wrong in a run that has learned badly, in one sentence each."""

import logging
from collections import Counter
from collections.abc import Iterator

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils import comm

from efficientps_d2.report.run import Run, matches_of, read_run
from efficientps_d2_runtime.errors import InputError, one_sentence

logger = logging.getLogger("efficientps_d2")

FEW_PERCENT = 1.0  # PQ below which something was not learned
FALLEN = 0.9  # share of its first value that a loss must fall below
GROWN = 1.1  # the same for a finetuned run, which may begin with what it can reach
LINES = 10  # fewer of metrics.json say nothing about losses
LOSSES_THAT_FALL = ("total_loss", "loss_sem_seg", "loss_rpn_cls", "loss_mask")
SHIFT = 1.0  # standard deviations
RISEN = 1.2  # times the best validation loss


def warn_of_bad_learning(cfg: CfgNode) -> None:
    """Log what :func:`diagnose` says of a run that has ended.

    Nothing without ``DATASETS.TEST``. Files that cannot be read do not make a training fail.
    """
    if not (comm.is_main_process() and cfg.DATASETS.TEST):
        return
    try:
        for sentence in diagnose(read_run(cfg.OUTPUT_DIR)):
            logger.warning(sentence)
    except InputError as error:
        logger.warning("What this run has learned was not looked at: %s", one_sentence(error))


def diagnose(run: Run) -> list[str]:
    """Sentences, each with the likely cause and the cure; none for a run that has learned."""
    return [
        *_losses_that_do_not_fall(run),
        *_things_at_zero(run),
        *_classes_never_predicted(run),
        *_overfitting(run),
        *_shifted_norms(run),
    ]


def _losses_that_do_not_fall(run: Run) -> Iterator[str]:
    count = len(run.training)
    if count < LINES:
        return
    tenth = max(1, count // 10)
    limit, change = (GROWN, "rose") if run.cfg.MODEL.WEIGHTS else (FALLEN, "did not fall")
    for name in LOSSES_THAT_FALL:
        values = [line[name] for line in run.training if name in line]
        if len(values) < count:
            continue
        first, last = np.mean(values[:tenth]), np.mean(values[-tenth:])
        if last > limit * first:
            yield (
                f"{name} {change}: {first:.3g} at the start, {last:.3g} at the end; the "
                "learning rate (SOLVER.BASE_LR) is probably too high, or much too low."
            )


def _things_at_zero(run: Run) -> Iterator[str]:
    things = run.results.get("panoptic_seg/PQ_th", np.nan)
    if np.isnan(things) or things >= FEW_PERCENT:
        return
    if run.results.get("bbox/AP50", 0.0) >= 5:
        yield (
            f"PQ of things is {things:.1f} although boxes are found (AP50 "
            f"{run.results['bbox/AP50']:.1f}): their scores are below "
            "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH, so train longer or lower it."
        )
    else:
        cure = "train longer"
        if run.cfg.MODEL.META_ARCHITECTURE != "LPSNetStyle":  # it has no anchors
            cure += (
                ", or compare MODEL.ANCHOR_GENERATOR.SIZES with the sizes of the things "
                "(efficientps-d2 check NAME --suggest)"
            )
        yield f"PQ of things is {things:.1f}, and hardly any box fits: {cure}."


def _classes_never_predicted(run: Run) -> Iterator[str]:
    kinds = Counter()
    for image in run.images:
        kinds.update((match.class_id, match.kind) for match in matches_of(image))
    lost = [
        (name, kinds[i, "fn"])
        for i, name in enumerate(run.names)
        if kinds[i, "fn"] and not kinds[i, "tp"] and not kinds[i, "fp"]
    ]
    if lost:
        names = ", ".join(f"{name} (0 of {count} segments)" for name, count in lost)
        things = {run.names[i] for i in run.thing_ids}
        cure = "train longer, or add images with these classes to DATASETS.TRAIN"
        if not things.issuperset(name for name, _ in lost):
            cure += (
                "; for stuff also lower MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT (pixels; "
                "smaller regions become void)"
            )
        yield f"Never predicted: {names}; {cure}."


def _overfitting(run: Run) -> Iterator[str]:
    losses = run.validation_losses
    if len(losses) < 3:
        return
    iteration, best = min(losses, key=lambda pair: pair[1])
    if losses[-1][1] > RISEN * best:
        yield (
            f"The validation loss rose from {best:.3g} in iteration {iteration} to "
            f"{losses[-1][1]:.3g}: the model fits the training images too closely; use more of "
            "them, more augmentation (INPUT.SCALE_JITTER, INPUT.COLOR_JITTER), or a shorter "
            "SOLVER.MAX_ITER."
        )


def _shifted_norms(run: Run) -> Iterator[str]:
    shifts = [line["norm_shift"] for line in run.validation if "norm_shift" in line]
    if shifts and shifts[-1] > SHIFT:
        yield (
            f"The statistics of a batch norm are {shifts[-1]:.1f} standard deviations from what "
            "it meets in validation: the batches of the training are too small or too mixed; set "
            "SOLVER.FREEZE_BN_ITER, or NORM to GN in the heads."
        )
