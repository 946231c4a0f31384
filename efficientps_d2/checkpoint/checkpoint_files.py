"""The checkpoints in the folder of a run: the newest whole one, whatever happened to the others."""

import logging
import os
import shutil
import zipfile
import zlib
from pathlib import Path

from efficientps_d2.utils.errors import InputError

logger = logging.getLogger(__name__)

LAST = "last_checkpoint"  # names the newest
FINAL = "model_final"
EARLIER = "earlier_run"
PATTERNS = ("model_[0-9]*.pth", f"{FINAL}.pth")


def checkpoint_files(folder: str | Path) -> list[Path]:
    """The files that a training can go on from, the newest first."""
    found = {file for pattern in PATTERNS for file in Path(folder).glob(pattern)}
    files = [file for file in found if file.is_file()]
    return sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name), reverse=True)


def has_checkpoint(folder: str | Path) -> bool:
    """Whether there is a file to go on from, whole or not."""
    return Path(folder, LAST).is_file() or bool(checkpoint_files(folder))


def newest_checkpoint(folder: str | Path) -> Path | None:
    """The file that ``last_checkpoint`` names, or the newest whole one if that cannot be used.

    Returns:
        None if there is no checkpoint at all.

    Raises:
        InputError: if there are some, but all are damaged.
    """
    files, damaged = checkpoint_files(folder), []
    tag = Path(folder, LAST)
    if tag.is_file():
        name = tag.read_text(encoding="utf-8", errors="replace").strip()
        file = Path(folder, name)
        # Only a file in the folder of the run itself; nothing else may be loaded as its last.
        if Path(name).name == name and os.path.isfile(file):
            files = [file, *(other for other in files if other != file)]
        else:
            damaged.append(f"{tag} names {name[:80]!a}, which is no file beside it")
    elif files:
        damaged.append(f"{tag} is missing")
    for file in files:
        if is_whole(file):
            if damaged:
                logger.warning("%s; going on from %s.", "; ".join(damaged), file)
            return file
        damaged.append(f"{file} is damaged")
    if damaged:
        raise InputError(
            f"{'; '.join(damaged)}; leave --resume out to train anew, or "
            "name a whole file as MODEL.WEIGHTS."
        )
    return None


def is_whole(file: str | Path) -> bool:
    """Whether a file of ``torch.save`` has all of its bytes, by the checksums that are in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():  # testzip() would look for them by their names
                with archive.open(entry) as content:
                    while content.read(2**20):
                        pass
            return True
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False  # RuntimeError: its bits say that it is encrypted, or compressed otherwise


def set_aside(folder: str | Path, *others: str) -> None:
    """Move checkpoints to ``earlier_run``, so that no new run is mistaken for theirs.

    A training that was started anew by mistake then loses nothing; what was there before goes.

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
