"""Locks of files that end with the process that holds them, however it dies."""

import os
from io import TextIOWrapper
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

CAN_LOCK = fcntl is not None


def lock(path: str | Path) -> TextIOWrapper:
    """Lock a file, made if needed, until what is returned is closed; it holds the process's id.

    Raises:
        BlockingIOError: if another process holds it; its ``filename`` is that process's id.
        OSError: if the file cannot be written, or lies where nothing can be locked.
    """
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  open as long as the lock
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        if isinstance(error, (BlockingIOError, PermissionError)):
            raise BlockingIOError(error.errno, error.strerror, holder) from error
        raise
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
