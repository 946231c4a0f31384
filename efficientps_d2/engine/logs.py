"""The logs of a run: the console has what matters, ``log.txt`` has everything."""

import contextlib
import logging
import os
import sys
from argparse import Namespace
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from efficientps_d2.utils.shell import shell_command
from efficientps_d2_runtime.errors import one_line
from efficientps_d2_runtime.files import replacing_file

logger = logging.getLogger("efficientps_d2")

PACKAGES = {"efficientps_d2": "efficientps-d2", "PyTorch": "torch", "NumPy": "numpy"}
PLAIN = logging.Formatter("[%(asctime)s] %(name)s: %(message)s", datefmt="%m/%d %H:%M:%S")
# Logger and function whose messages fill screens or help no user.
DUMPS = {
    ("efficientps_d2", "_log_everything"),
    ("detectron2.engine.defaults", "build_model"),  # every layer
    ("detectron2.engine.train_loop", "train"),  # "starting" also of what is complete
    ("detectron2.checkpoint.detection_checkpoint", "load"),  # fvcore says the same
    ("detectron2.data.common", "__init__"),  # how records are held in memory
    ("detectron2.evaluation.testing", "print_csv_format"),  # as results.md has it
    ("detectron2.engine.defaults", "test"),
    ("detectron2.evaluation.sem_seg_evaluation", "evaluate"),
    ("detectron2.evaluation.cityscapes_evaluation", "reset"),
    ("detectron2.evaluation.coco_evaluation", "__init__"),
    ("detectron2.evaluation.coco_evaluation", "_eval_predictions"),
    ("detectron2.evaluation.coco_evaluation", "_derive_coco_results"),  # as results.md has it
    ("efficientps_d2.evaluation.prints", "log_prints"),
}


def start_logs(cfg: CfgNode, args: Namespace) -> None:
    """Make ``OUTPUT_DIR`` with ``log.txt`` and ``config.yaml``, and seed the random numbers.

    As Detectron2's ``default_setup``, but ``config.yaml`` is whole or the former one.

    Raises:
        OSError: if they cannot be written.
    """
    # The config.yaml of a training is what its weights need; an evaluation must not replace it.
    folder = os.path.join(cfg.OUTPUT_DIR, "inference") if args.eval_only else cfg.OUTPUT_DIR
    rank = comm.get_rank()
    os.makedirs(folder, exist_ok=True)
    names = ("fvcore", "detectron2", "efficientps_d2")
    loggers = [setup_logger(folder, distributed_rank=rank, name=name) for name in names]
    for handler in (handler for each in loggers for handler in each.handlers):
        handler.handleError = partial(_give_up, handler)
        if getattr(handler, "stream", None) is sys.stdout:
            handler.addFilter(_is_no_dump)
            if not sys.stdout.isatty():  # no codes of colours in files
                handler.setFormatter(PLAIN)
    _log_everything(cfg, args)
    if rank == 0:
        with replacing_file(os.path.join(folder, "config.yaml")) as new:
            new.write_text(cfg.dump(), encoding="utf-8")
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not args.eval_only:
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    device = torch.device(cfg.MODEL.DEVICE)
    device = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device}"
    logger.info("%s, on %s.", ", ".join(f"{n} {_version(p)}" for n, p in PACKAGES.items()), device)
    logger.info("Versions, config and network in full: %s/log.txt.", folder)


def log_next_steps(cfg: CfgNode) -> None:
    """What to do with a run that has ended."""
    command, folder = "efficientps-d2", cfg.OUTPUT_DIR
    if cfg.DATASETS.TEST:
        logger.info("Curves, errors and images: %s", shell_command([command, "report", folder]))
    predict = shell_command([command, "predict", "--model", os.path.join(folder, "model")])
    logger.info("Prediction: %s IMAGE --output FOLDER", predict)


def _log_everything(cfg: CfgNode, args: Namespace) -> None:
    logger.info("Environment info:\n%s", collect_env_info())
    logger.info("Process %d of %d; arguments: %s", comm.get_rank(), comm.get_world_size(), args)
    logger.info("Running with full config:\n%s", cfg.dump())


def _give_up(handler: logging.StreamHandler, record: logging.LogRecord) -> None:
    """Say once that a log cannot be written, for instance to a full disk, and go on without it."""
    if not (isinstance(sys.exc_info()[1], OSError) or handler.stream.closed):
        logging.Handler.handleError(handler, record)  # of this message only
        return
    handler.setLevel(logging.CRITICAL + 1)
    if handler.stream.closed:  # several loggers share it
        return
    reason, file = one_line(sys.exc_info()[1]), getattr(handler.stream, "name", "the log")
    if handler.stream not in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # or it would be raised at the end
            handler.stream.close()
    print(f"{file} cannot be written ({reason}); the run goes on without it.", file=sys.stderr)


def _is_no_dump(record: logging.LogRecord) -> bool:
    if record.exc_info and "closed by peer" in str(record.exc_info[1]):
        return False  # another process has ended, and launch() says why
    return record.levelno > logging.INFO or (record.name, record.funcName) not in DUMPS


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a folder
        return "of this folder"
