"""Files and folders that are there completely, or as they were before."""

import contextlib
import errno
import glob
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.locks import CAN_LOCK, HeldError, lock

logger = logging.getLogger(__name__)

# In a temporary folder: a file that its process holds, and the name of the destination.
LOCK, NAME = "lock", "name"
PARTIAL = ".partial"  # ends names that nobody else gives to a folder
TRIES = 500  # of marking a folder that others remove


def refuse_pipes(path: object) -> None:
    """Fail for a pipe, a device or a folder, from which a program could read for ever.

    Raises:
        OSError: what is not there is left for ``open`` to say.
    """
    if isinstance(path, (str, Path)) and os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is no file", str(path))


@contextlib.contextmanager
def replacing_file(
    path: str | Path, keep_suffix: bool = False, durable: bool = True
) -> Iterator[Path]:
    """A file beside ``path`` that takes its place when the block ends without an exception.

    Args:
        path: what is written.
        keep_suffix: whether the file beside it has the same suffix, for writers that look at it.
        durable: whether it is on the disk at the end, also after a power failure; many files that
            can be made again are written twice as fast without.

    Raises:
        InputError: at once, before what may be minutes of work, if it cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    name = f"{path.stem}.partial{path.suffix}" if keep_suffix else f"{path.name}.partial"
    partial = path.with_name(name)
    try:
        partial.touch()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written ({reason}); give another path.") from error
    try:
        yield partial
        if durable:  # or a power failure could leave an empty file under the new name
            to_disk(partial)
        partial.replace(path)
        if durable:
            to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    if path.is_dir() and os.name == "nt":  # cannot open folders
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing_folder(dest: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``dest`` when the block ends without an exception.

    It lies beside ``dest``, or beside what ``dest`` links to, under a name that nobody else uses.
    What killed processes have left there is removed.
    """
    dest = Path(os.path.realpath(dest))
    dest.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{dest.name[:50]}."  # cut, since a name gets longer and a file system has a limit
    remove_leftovers(dest, f"{glob.escape(prefix)}*{PARTIAL}")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(PARTIAL, prefix, dest.parent, ignore_cleanup_errors=True)
        )
        stack.enter_context(in_use(Path(folder), dest.name))
        new, old = Path(folder, "new"), Path(folder, "old")
        new.mkdir()
        try:
            yield new
            _take_place(new, dest, old)
        finally:  # while the folder is marked, for who removes leftovers
            for rest in (new, old):
                shutil.rmtree(rest, ignore_errors=True)


def _take_place(new: Path, dest: Path, old: Path) -> None:
    """Put ``new`` where ``dest`` is, which becomes ``old``; or change nothing."""
    try:
        if dest.exists():
            dest.rename(old)
        new.rename(dest)
    except BaseException:  # Ctrl-C, too, which may come after either
        if not new.exists():
            dest.rename(new)
        if old.exists():
            old.rename(dest)
        raise


@contextlib.contextmanager
def in_use(folder: Path, name: str) -> Iterator[None]:
    """Mark a temporary folder, so that :func:`remove_leftovers` knows whether its process lives."""
    with contextlib.ExitStack() as stack:
        for _ in range(TRIES if CAN_LOCK else 0):
            try:
                folder.mkdir(exist_ok=True)
                with contextlib.suppress(OSError):  # of file systems without locks
                    stack.enter_context(lock(folder / LOCK))
                (folder / NAME).write_text(name, encoding="utf-8", errors="surrogateescape")
                break
            except (HeldError, FileNotFoundError):  # another command removes it as a leftover
                time.sleep(0.01)
        yield


def remove_leftovers(dest: Path, pattern: str) -> None:
    """Remove temporary folders whose processes have died, but not a dataset that only they hold.

    Args:
        dest: that the folders lie beside, with its name in them by :func:`in_use`.
        pattern: of their names.
    """
    for folder in dest.parent.glob(pattern) if CAN_LOCK else ():
        try:
            if not _is_leftover(folder, dest.name):
                continue
            held = lock(folder / LOCK)
        except (OSError, HeldError):  # of another user, just removed, or in use
            continue
        marks_only = True
        with held, contextlib.suppress(FileNotFoundError):  # its process has just removed it
            marks_only = {file.name for file in folder.iterdir()} <= {LOCK, NAME}
            if (folder / "old").exists() and not dest.exists():  # killed between two renames
                (folder / "old").rename(dest)
            shutil.rmtree(folder, ignore_errors=True)
        if not marks_only:
            logger.warning("Removed %s, which a command that was killed had left.", folder)


def _is_leftover(folder: Path, name: str) -> bool:
    """Whether a folder is a temporary one of this user and of a destination of that name.

    One that its process had no time to mark, or was just removing, holds nothing but marks.

    Raises:
        OSError: if it is gone, or nobody may look into it.
    """
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.geteuid():
        return False
    files = list(folder.iterdir())
    marks = [file for file in files if file.name in (LOCK, NAME)]
    if any(not mark.is_file() or mark.is_symlink() for mark in marks):
        return False
    if any(mark.stat().st_uid != os.geteuid() for mark in marks):
        return False
    if len(marks) < 2:
        return marks == files and folder.name.endswith(PARTIAL)
    return (folder / NAME).read_text(encoding="utf-8", errors="surrogateescape") == name
