"""The folder of a run: one training at a time, and what a resumed one must have in common."""

import logging
import os
from io import TextIOWrapper
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm

from efficientps_d2.checkpoint.checkpoint_files import last_name
from efficientps_d2.config.check import check_schedule
from efficientps_d2.config.keys import differences, flat_items
from efficientps_d2.config.loading import load_config
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.locks import CAN_LOCK, HeldError, lock

logger = logging.getLogger("efficientps_d2")

# A change of these makes another run of it; keys that end so change nothing that is learned.
DECISIVE = ("DATASETS.TRAIN", "DATALOADER.", "INPUT.", "MODEL.", "SEED", "SOLVER.")
HARMLESS = (
    *("_TEST", ".WEIGHTS", "MODEL.DEVICE", "NUM_WORKERS", "DAMAGED_IMAGE_LIMIT"),
    *("SOLVER.CHECKPOINT_PERIOD", "SOLVER.CHECKPOINTS_KEPT"),
)
FUSION = "MODEL.PANOPTIC_FPN.COMBINE."
PARTIAL = ("model_*.pth.partial", "last_checkpoint.partial")
SAME_NORM = {"BN", "SyncBN"}  # of one process and of several

_locks: dict[str, TextIOWrapper] = {}  # a lock lives as long as its file is open


def lock_run(folder: str) -> None:
    """Refuse a second training in a folder; the lock ends with the process, however it dies.

    Raises:
        InputError: if another process trains there, or the folder cannot be written.
    """
    path = os.path.realpath(os.path.join(folder, ".lock"))
    if not CAN_LOCK or path in _locks or not comm.is_main_process():
        return
    try:
        _locks[path] = lock(path)
    except HeldError as error:
        raise InputError(
            f"OUTPUT_DIR {folder} belongs to a training that is running, process "
            f"{error.holder}; wait for its end, or give another OUTPUT_DIR."
        ) from error
    except OSError as error:
        if error.filename:  # the file itself cannot be opened
            raise InputError(
                f"OUTPUT_DIR {folder} cannot be written; give another folder."
            ) from error
        logger.warning("%s cannot be locked (%s): start no second training there.", folder, error)


def require_same_checkpoint(folder: str) -> None:
    """Refuse to go on where processes, on other machines, would begin with other weights.

    Raises:
        InputError: if they see different checkpoints.
    """
    names = comm.all_gather(last_name(folder))
    other = next((rank for rank, name in enumerate(names) if name != names[0]), None)
    if other is not None:
        seen, first = (names[rank] or "no checkpoint" for rank in (other, 0))
        raise InputError(
            f"OUTPUT_DIR {folder}: process {other} sees {seen}, process 0 {first}; give a folder "
            "that all machines share, or set OUTPUT_MIRROR."
        )


def remove_partial_checkpoints(folder: str) -> None:
    """Remove what a training that was killed while it saved has left; call it under the lock."""
    if not comm.is_main_process():
        return
    for name in PARTIAL:
        for file in filter(Path.is_file, Path(folder).glob(name)):
            file.unlink()
            logger.warning("Removed %s, which a training that was killed had left.", file)


def config_of_run(folder: str) -> CfgNode | None:
    """The config that a training has left in its folder."""
    file = Path(folder, "config.yaml")
    return load_config(str(file), only_read=True) if file.is_file() else None


def check_resumed_config(cfg: CfgNode, run: CfgNode, force: bool) -> None:
    """Log what differs from the config that a run began with.

    Args:
        cfg: of the resumed training, complete.
        run: of the run.
        force: whether to go on where weights, data or schedule would no longer be those of the run.

    Raises:
        InputError: if they would, without ``force``, or if the new schedule makes no sense.
    """
    changed = _changes(run, cfg)
    if (decisive := _decisive(changed)) and not force:
        raise InputError(
            f"This run began with other values: {decisive}; give these again, "
            "another OUTPUT_DIR for a new run, or --force to go on with the new values."
        )
    logged = [
        key for key in changed if key not in ("OUTPUT_DIR", "MODEL.WEIGHTS", "VERSION", "AUTO")
    ]
    if logged:
        logger.info("Other values than at the start of this run: %s.", _listed(changed, logged))
    _check_changed_schedule(cfg, run)


def decisive_changes(run: CfgNode, cfg: CfgNode) -> str:
    """What makes a config that of another run, listed; "" if it is of the same."""
    return _decisive(_changes(run, cfg))


def _changes(run: CfgNode, cfg: CfgNode) -> dict[str, tuple]:
    """Values of both; keys that a run of an earlier version lacks are no change."""
    before = dict(flat_items(run))
    return {
        key: values
        for key, values in differences(run, cfg).items()
        if key in before and set(map(str, values)) != SAME_NORM
    }


def _check_changed_schedule(cfg: CfgNode, run: CfgNode) -> None:
    """Check what a resume changes; a run of an earlier version goes on with what it began with."""
    try:
        check_schedule(run)
    except InputError:
        return
    check_schedule(cfg)


def _decisive(changed: dict[str, tuple]) -> str:
    return _listed(changed, [key for key in changed if _is_decisive(key)])


def _is_decisive(key: str) -> bool:
    return key.startswith(DECISIVE) and not (key.endswith(HARMLESS) or key.startswith(FUSION))


def _listed(changed: dict[str, tuple], keys: list[str]) -> str:
    return ", ".join(f"{key} {changed[key][0]} (now {changed[key][1]})" for key in keys)
