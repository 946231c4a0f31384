"""From the flags of a command to the config of a run: checks, "auto" values, classes, logs."""

import logging
import os
from argparse import Namespace

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from efficientps_d2.checkpoint.checkpoint_files import has_checkpoint
from efficientps_d2.checkpoint.weights_address import require_file
from efficientps_d2.config.building import check_network
from efficientps_d2.config.check import check_schedule
from efficientps_d2.config.keys import value_of
from efficientps_d2.config.loading import load_config, without_cuda
from efficientps_d2.data.checks.tables import suggestion_table
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.datasets.register import check_dataset_files
from efficientps_d2.engine.auto_values import fill_auto
from efficientps_d2.engine.logs import start_logs
from efficientps_d2.engine.mirror import prepare_mirror
from efficientps_d2.engine.run_folder import (
    check_resumed_config,
    config_of_run,
    lock_run,
    remove_partial_checkpoints,
    require_same_checkpoint,
)
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA
from efficientps_d2.utils.env import keep_freed_memory, quiet_known_warnings
from efficientps_d2_runtime.errors import InputError, one_line

logger = logging.getLogger("efficientps_d2")


def setup(args: Namespace) -> CfgNode:
    """Make the config of a run and start its logs.

    Args:
        args: flags of Detectron2's ``default_argument_parser``.

    Returns:
        The frozen config, for the device that is there, with the class counts of its data.

    Raises:
        InputError: if the config, the weights or the data cannot be used.
    """
    quiet_known_warnings()
    cfg = _on_device(load_config(args.config_file, args.opts))
    if cfg.MODEL.DEVICE == "cpu":
        keep_freed_memory()
    mirror = "" if args.eval_only else cfg.OUTPUT_MIRROR
    force = getattr(args, "force", False)
    fetched = prepare_mirror(cfg.OUTPUT_DIR, mirror, args.resume, force)
    if args.resume:
        require_same_checkpoint(cfg.OUTPUT_DIR)
    resumes = args.resume and has_checkpoint(cfg.OUTPUT_DIR)
    weights = cfg.MODEL.WEIGHTS
    if not resumes:
        _check_weights(weights, args, cfg.OUTPUT_DIR)
    else:
        cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    run_folder = cfg.OUTPUT_DIR if resumes else os.path.dirname(weights) if args.eval_only else None
    if args.eval_only:
        cfg.DATASETS.TRAIN = ()
    elif cfg.DATASETS.TRAIN and not resumes:
        check_schedule(cfg)  # before data are read; again with the values that were "auto"
    _check_datasets(cfg, args.eval_only)
    cfg = with_class_counts(cfg)
    check_network(cfg)
    if cfg.TEST.AUG.ENABLED:
        PanopticTTA.require(cfg)
    _make_output_dir(cfg.OUTPUT_DIR)
    chosen = fill_auto(cfg, run_folder)
    run = config_of_run(cfg.OUTPUT_DIR) if resumes and not args.eval_only else None
    if not args.eval_only:
        _prepare_training(cfg, run, force)
    cfg.freeze()
    _start_logs(cfg, args)
    if fetched:
        logger.info("Fetched %s from %s.", fetched, mirror)
    if not args.eval_only:
        remove_partial_checkpoints(cfg.OUTPUT_DIR)
        if resumes and run is None:
            logger.warning(
                "%s has no config.yaml: it is not known whether this run began with other values.",
                cfg.OUTPUT_DIR,
            )
    if chosen:
        logger.info('Values that were "auto":\n%s', suggestion_table(chosen))
    _warn(cfg, args, has_weights=resumes or bool(weights))
    return cfg


def _check_datasets(cfg: CfgNode, eval_only: bool) -> None:
    if not (eval_only or cfg.DATASETS.TRAIN):
        raise InputError("DATASETS.TRAIN is empty; give DATASETS.TRAIN \"('NAME_train',)\".")
    if len(set(cfg.DATASETS.TEST)) < len(cfg.DATASETS.TEST):
        raise InputError(
            f"DATASETS.TEST {cfg.DATASETS.TEST} names a dataset twice; once is enough."
        )
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        check_dataset_files(name)


def _start_logs(cfg: CfgNode, args: Namespace) -> None:
    try:
        start_logs(cfg, args)
    except OSError as error:
        raise InputError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} cannot be written ({one_line(error)}); make room, or "
            "give another folder."
        ) from error


def _warn(cfg: CfgNode, args: Namespace, has_weights: bool) -> None:
    """Say what a user may not have meant."""
    if not (args.eval_only or cfg.DATASETS.TEST):
        logger.warning(
            "DATASETS.TEST is empty: nothing will be evaluated, and no best weights are kept; add "
            "DATASETS.TEST \"('NAME_val',)\"."
        )
    part, weights = "EFFICIENTNET", "MODEL.EFFICIENTNET.WEIGHTS"
    if "resnet" in cfg.MODEL.BACKBONE.NAME:
        part, weights = "RESNETS", "MODEL.WEIGHTS"
    if cfg.MODEL[part].NORM == "FrozenBN" and not (has_weights or value_of(cfg, weights)):
        logger.warning(
            "The norms of the backbone are fixed, but it has no trained weights; give "
            f'{weights} or set MODEL.{part}.NORM "BN".'
        )
    if not torch.cuda.is_available():
        processes = comm.get_world_size()
        count = "one process" if processes == 1 else f"{processes} processes"
        logger.info("CUDA is not available: %s on the CPU, with BN for SyncBN.", count)
        cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", processes))
        if "TORCHELASTIC_RUN_ID" in os.environ and torch.get_num_threads() < cores:
            logger.info(
                "Each process uses %d of its %d cores, as torchrun has it; set OMP_NUM_THREADS=%d.",
                *(torch.get_num_threads(), cores, cores),
            )


def _on_device(cfg: CfgNode) -> CfgNode:
    """``cfg`` as the device can run it: without CUDA there are neither SyncBN nor AMP."""
    try:
        device = torch.device(cfg.MODEL.DEVICE)
    except RuntimeError as error:
        raise InputError(f'MODEL.DEVICE "{cfg.MODEL.DEVICE}" is no device: cuda or cpu.') from error
    cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    if device.type not in (("cpu", "cuda", "mps") if has_mps else ("cpu", "cuda")):
        raise InputError(f'MODEL.DEVICE "{cfg.MODEL.DEVICE}" is not there; give cuda or cpu.')
    if device.type != "cpu" and (device.type != "cuda" or cuda):
        return cfg
    if cfg.SOLVER.AMP.ENABLED:
        raise InputError("SOLVER.AMP.ENABLED is True, but AMP training needs CUDA; set it False.")
    return without_cuda(cfg)


def _prepare_training(cfg: CfgNode, run: CfgNode | None, force: bool) -> None:
    """Lock the folder, choose a seed, and compare with the ``run`` that is resumed, if any."""
    lock_run(cfg.OUTPUT_DIR)
    batch, processes = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch % processes and not cfg.SOLVER.REFERENCE_WORLD_SIZE:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH {batch} cannot be shared by {processes} processes; give a "
            "multiple of them."
        )
    if cfg.SEED < 0 and run is not None:
        cfg.SEED = run.SEED
    if cfg.SEED < 0:
        cfg.SEED = comm.shared_random_seed()
    if run is None:
        check_schedule(cfg)
    else:
        if run.SEED < 0:  # earlier versions did not keep it
            run.SEED = cfg.SEED
        check_resumed_config(cfg, run, force)


def _make_output_dir(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        reason = one_line(error.strerror or error)
        raise InputError(
            f"OUTPUT_DIR {folder} cannot be made ({reason}); give a folder."
        ) from error


def _check_weights(weights: str, args: Namespace, output_dir: str) -> None:
    """Of a run that does not go on from a checkpoint of its own."""
    if args.eval_only and not weights:
        if args.resume:
            raise InputError(f"{output_dir} has no checkpoint to resume; give MODEL.WEIGHTS FILE.")
        raise InputError("An evaluation needs a checkpoint: give MODEL.WEIGHTS FILE, or --resume.")
    if weights:
        require_file(weights)
