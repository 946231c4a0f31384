"""The logs of a run: the console tells the story, ``log.txt`` has everything."""

import logging
import os
import sys
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from efficientps_d2.config.loading import find_config

logger = logging.getLogger("efficientps_d2")

PACKAGES = {"efficientps_d2": "efficientps-d2", "PyTorch": "torch", "NumPy": "numpy"}
PLAIN = logging.Formatter("[%(asctime)s] %(name)s: %(message)s", datefmt="%m/%d %H:%M:%S")
# Logger and function of Detectron2 whose messages fill screens or help no user.
DUMPS = {
    ("detectron2", "default_setup"),  # environment, arguments, config
    ("detectron2.engine.defaults", "build_model"),  # every layer
    ("detectron2.data.common", "__init__"),  # how records are held in memory
    ("detectron2.evaluation.testing", "print_csv_format"),  # as results.md has it
    ("detectron2.evaluation.sem_seg_evaluation", "evaluate"),
}


def start_logs(cfg: CfgNode, args: Namespace) -> None:
    """Make ``OUTPUT_DIR`` with ``log.txt`` and ``config.yaml``, and seed the random numbers."""
    # The config.yaml of a training is what its weights need; an evaluation must not replace it.
    logged = cfg.clone()
    if args.eval_only:
        logged.defrost()
        logged.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, "inference")
    rank = comm.get_rank()
    # Called as Detectron2 will: it keeps what it made for the same arguments.
    loggers = [
        setup_logger(logged.OUTPUT_DIR, distributed_rank=rank, name="fvcore"),
        setup_logger(logged.OUTPUT_DIR, distributed_rank=rank),
        setup_logger(logged.OUTPUT_DIR, rank, name="efficientps_d2"),
    ]
    for handler in (handler for each in loggers for handler in each.handlers):
        if getattr(handler, "stream", None) is sys.stdout:
            handler.addFilter(_is_no_dump)
            if not sys.stdout.isatty():  # no codes of colours in files
                handler.setFormatter(PLAIN)
    # It opens the file itself, also that of a config which was only named.
    file = find_config(args.config_file)
    default_setup(logged, Namespace(**{**vars(args), "config_file": file}))
    device = torch.device(cfg.MODEL.DEVICE)
    device = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device}"
    logger.info("%s, on %s.", ", ".join(f"{n} {_version(p)}" for n, p in PACKAGES.items()), device)
    logger.info("Versions, config and network in full: %s/log.txt.", logged.OUTPUT_DIR)


def _is_no_dump(record: logging.LogRecord) -> bool:
    if record.exc_info and "closed by peer" in str(record.exc_info[1]):
        return False  # another process has ended, and launch() says why
    return record.levelno > logging.INFO or (record.name, record.funcName) not in DUMPS


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a folder
        return "of this folder"
