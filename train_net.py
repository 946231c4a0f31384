"""Train and evaluate EfficientPS; flags are those of Detectron2's own script.

python train_net.py --config-file configs/efficientps_cityscapes.yaml --num-gpus 8
"""

import logging
import multiprocessing
import os
import signal
import sys
import warnings

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import torch  # noqa: E402
from detectron2.engine import (  # noqa: E402
    default_argument_parser,
    default_setup,
    launch,
)
from detectron2.evaluation import verify_results  # noqa: E402
from detectron2.evaluation.testing import flatten_results_dict  # noqa: E402
from detectron2.utils import comm  # noqa: E402
from detectron2.utils.events import EventStorage, JSONWriter  # noqa: E402
from detectron2.utils.logger import setup_logger  # noqa: E402
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException  # noqa: E402

from efficientps_d2.checkpoint.checkpointer import BEST, FittingCheckpointer  # noqa: E402
from efficientps_d2.config.loading import load_config, without_cuda  # noqa: E402
from efficientps_d2.data.checks.tables import suggestion_table  # noqa: E402
from efficientps_d2.data.classes import with_class_counts  # noqa: E402
from efficientps_d2.data.datasets.register import check_dataset_files  # noqa: E402
from efficientps_d2.engine.auto_values import fill_auto  # noqa: E402
from efficientps_d2.engine.trainer import Trainer  # noqa: E402
from efficientps_d2.report.diagnosis import diagnose  # noqa: E402
from efficientps_d2.report.run import read_run  # noqa: E402
from efficientps_d2.utils.errors import InputError, one_sentence  # noqa: E402

logger = logging.getLogger("efficientps_d2")


def setup(args):
    """Make the config of this run: file, overrides, device, classes of the data; start the logs."""
    cfg = load_config(args.config_file, args.opts)
    try:
        device = torch.device(cfg.MODEL.DEVICE)
    except RuntimeError as error:
        raise InputError(f'MODEL.DEVICE "{cfg.MODEL.DEVICE}" is no device: cuda or cpu.') from error
    on_cpu = device.type == "cuda" and not torch.cuda.is_available()
    if on_cpu or cfg.MODEL.DEVICE == "cpu":
        if cfg.SOLVER.AMP.ENABLED:
            raise InputError(
                "SOLVER.AMP.ENABLED is True, but AMP training needs CUDA; set it False."
            )
        cfg = without_cuda(cfg)
    resumes = args.resume and os.path.isfile(os.path.join(cfg.OUTPUT_DIR, "last_checkpoint"))
    if args.eval_only and not (cfg.MODEL.WEIGHTS or resumes):
        if args.resume:
            raise InputError(
                f"{cfg.OUTPUT_DIR} has no checkpoint to resume; give MODEL.WEIGHTS FILE."
            )
        raise InputError("--eval-only needs a checkpoint: give MODEL.WEIGHTS FILE, or --resume.")
    weights = cfg.MODEL.WEIGHTS
    if weights and "://" not in weights and not os.path.isfile(weights) and not resumes:
        raise InputError(f"MODEL.WEIGHTS {weights} does not exist; give a checkpoint file.")
    if resumes:
        cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    run_folder = cfg.OUTPUT_DIR if resumes else os.path.dirname(weights) if args.eval_only else None
    chosen = fill_auto(cfg, run_folder)
    if args.eval_only:
        cfg.DATASETS.TRAIN = ()
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        check_dataset_files(name)
    cfg = with_class_counts(cfg)
    cfg.freeze()
    # The config.yaml of a training is what its weights need; an evaluation must not replace it.
    logged = cfg.clone()
    if args.eval_only:
        logged.defrost()
        logged.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, "inference")
    default_setup(logged, args)
    setup_logger(logged.OUTPUT_DIR, comm.get_rank(), name="efficientps_d2")
    if chosen:
        logger.info('Values that were "auto":\n%s', suggestion_table(chosen))
    frozen = cfg.MODEL.EFFICIENTNET.NORM == "FrozenBN"
    if frozen and not (resumes or weights or cfg.MODEL.EFFICIENTNET.WEIGHTS):
        logger.warning(
            "The norms of the backbone are fixed, but it has no trained weights; give "
            'MODEL.EFFICIENTNET.WEIGHTS or set MODEL.EFFICIENTNET.NORM "BN".'
        )
    if on_cpu:
        logger.info("CUDA is not available: running on the CPU, one process, with BN for SyncBN.")
    return cfg


def write_metrics(results: dict, folder: str) -> None:
    """Add a line to metrics.json, as a training does after its evaluations."""
    with EventStorage() as storage:
        storage.put_scalars(**flatten_results_dict(results), smoothing_hint=False)
        JSONWriter(os.path.join(folder, "metrics.json")).write()


def main(args):
    cfg = setup(args)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        checkpointer = FittingCheckpointer(model, save_dir=cfg.OUTPUT_DIR)
        checkpointer.strict = True
        best = os.path.join(cfg.OUTPUT_DIR, f"{BEST}.pth")
        # What the run has saved as its model; without a period, a file of that name is an old one.
        if args.resume and cfg.TEST.EVAL_PERIOD and os.path.isfile(best):
            checkpointer.load(best)
        else:
            checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        results = Trainer.test(cfg, model)
        if cfg.TEST.AUG.ENABLED:
            results.update(Trainer.test_with_TTA(cfg, model))
        if comm.is_main_process():
            write_metrics(results, cfg.OUTPUT_DIR)
            verify_results(cfg, results)
        return results
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    results = trainer.train()
    if comm.is_main_process() and cfg.DATASETS.TEST:
        warn_of_bad_learning(cfg.OUTPUT_DIR)
    return results


def warn_of_bad_learning(folder: str) -> None:
    """Log what its files tell; files that cannot be read do not make a training fail."""
    try:
        for sentence in diagnose(read_run(folder)):
            logger.warning(sentence)
    except InputError as error:
        logger.warning("What this run has learned was not looked at: %s", one_sentence(error))


def pass_on(number, frame):
    """The children of a launch on several GPUs save a checkpoint; their parent waits for them."""
    for child in multiprocessing.active_children():
        os.kill(child.pid, number)


if __name__ == "__main__":
    arguments = default_argument_parser().parse_args()
    gpus = arguments.num_gpus if torch.cuda.is_available() else 0
    if gpus > 1:
        signal.signal(signal.SIGINT, pass_on)
        signal.signal(signal.SIGTERM, pass_on)
    try:
        launch(
            main,
            gpus,
            num_machines=arguments.num_machines,
            machine_rank=arguments.machine_rank,
            dist_url=arguments.dist_url,
            args=(arguments,),
        )
    except InputError as error:
        sys.exit(f"Error: {one_sentence(error)}")
    except ProcessRaisedException as error:
        if f"{InputError.__name__}: " not in str(error).strip().splitlines()[-1]:
            raise
        sys.exit(f"Error: {one_sentence(error)}")
    except ProcessExitedException as error:  # that process has said why
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
