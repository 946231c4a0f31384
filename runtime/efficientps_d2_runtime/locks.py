"""Locks of files that end with the process that holds them, however it dies."""

import os
from io import TextIOWrapper
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

CAN_LOCK = fcntl is not None


class HeldError(Exception):
    """Another process has the lock; ``holder`` is its id, as text."""

    def __init__(self, holder: str):
        super().__init__(holder)
        self.holder = holder


def lock(path: str | Path) -> TextIOWrapper:
    """Lock a file, made if needed, until what is returned is closed; it holds the process's id.

    Raises:
        HeldError: if another process, or another file of this one, holds it.
        OSError: if the file cannot be written, is a link, or lies where nothing can be locked.
    """
    # Not through a link, which could lead to a file of the user.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    file = open(descriptor, "r+", encoding="utf-8", errors="replace")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = file.read(20).strip()
        file.close()
        if isinstance(error, BlockingIOError):
            raise HeldError(holder) from error
        raise
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
