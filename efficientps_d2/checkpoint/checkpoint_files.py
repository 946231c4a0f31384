"""The checkpoints in the folder of a run: the newest whole one, whatever happened to the others."""

import logging
import os
import shutil
from pathlib import Path

from efficientps_d2.checkpoint.weights_file import is_whole, read_weights
from efficientps_d2_runtime.errors import InputError

logger = logging.getLogger(__name__)

LAST = "last_checkpoint"  # names the newest
FINAL = "model_final"
EARLIER = "earlier_run"
PATTERNS = ("model_[0-9]*.pth", f"{FINAL}.pth")


def checkpoint_files(folder: str | Path) -> list[Path]:
    """The files that a training can go on from."""
    found = {file for pattern in PATTERNS for file in Path(folder).glob(pattern)}
    return sorted(file for file in found if file.is_file())


def has_checkpoint(folder: str | Path) -> bool:
    """Whether there is a file to go on from, whole or not."""
    return Path(folder, LAST).is_file() or bool(checkpoint_files(folder))


def last_name(folder: str | Path) -> str:
    """What ``last_checkpoint`` says; "" if it is not there."""
    tag = Path(folder, LAST)
    if not tag.is_file():
        return ""
    return tag.read_text(encoding="utf-8", errors="replace").strip()


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The file that ``last_checkpoint`` names, or the newest whole one if that cannot be used.

    Returns:
        None if there is no checkpoint at all.

    Raises:
        InputError: if there are some, but all are damaged.
    """
    named, damaged = None, []
    files = checkpoint_files(folder)
    tag = Path(folder, LAST)
    if tag.is_file():
        name = last_name(folder)
        # Only a file in the folder of the run itself; nothing else may be loaded as its last.
        if Path(name).name == name and os.path.isfile(Path(folder, name)):
            named = Path(folder, name)
            if is_whole(named):
                return named
            damaged.append(f"{named} is damaged")
        else:
            damaged.append(f"{tag} names {name[:80]!a}, which is no file beside it")
    elif files:
        damaged.append(f"{tag} is missing")
    others = [file for file in files if file != named]
    for file in sorted(others, key=iteration_of, reverse=True):
        if is_whole(file):
            logger.warning("%s; going on from %s.", "; ".join(damaged), file)
            return file
        damaged.append(f"{file} is damaged")
    if damaged:
        raise InputError(
            f"{'; '.join(damaged)}; leave --resume out to start again, or "
            "name a whole file as MODEL.WEIGHTS."
        )
    return None


def iteration_of(file: Path) -> int:
    """The iteration of a checkpoint, not from the time of its file: clocks are set back."""
    number = file.stem.rpartition("_")[2]
    if number.isdecimal():
        return int(number)
    try:
        return int(read_weights(file).get("iteration", -1))
    except (InputError, OSError, TypeError, ValueError):
        return -1  # it cannot be used


def set_aside(folder: str | Path, *others: str) -> None:
    """Move checkpoints to ``earlier_run``, so that no new run is mistaken for theirs.

    A training that was started again by mistake then loses nothing; an older ``earlier_run`` goes.

    Args:
        folder: of the run.
        others: names of more files that go with them.
    """
    folder = Path(folder)
    files = [*checkpoint_files(folder), folder / LAST, *(folder / name for name in others)]
    files = [file for file in files if file.exists()]
    if not files:
        return
    aside = folder / EARLIER
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for file in files:
        file.rename(aside / file.name)
    logger.warning("Moved the checkpoints of an earlier run to %s.", aside)
