"""Files and folders that are there completely, or as they were before."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from efficientps_d2.utils.errors import InputError


def require_file(path: object) -> None:
    """Fail for a pipe, a device or a folder, from which a program could read for ever.

    Raises:
        OSError: what is not there is left for ``open`` to say.
    """
    if isinstance(path, (str, Path)) and os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is no file", str(path))


@contextlib.contextmanager
def replacing_file(path: str | Path, keep_suffix: bool = False) -> Iterator[Path]:
    """A file beside ``path`` that takes its place when the block ends without an exception.

    Args:
        path: what is written.
        keep_suffix: whether the file beside it has the same suffix, for writers that look at it.

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
        _to_disk(partial)  # or a power failure could leave an empty file under the new name
        partial.replace(path)
        _to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    if path.is_dir() and os.name == "nt":  # cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing_folder(dest: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``dest`` when the block ends without an exception.

    It lies beside ``dest``, or beside what ``dest`` links to, under a name that nobody else uses.
    """
    dest = Path(os.path.realpath(dest))
    dest.parent.mkdir(parents=True, exist_ok=True)
    # Letters are cut off since the name gets longer, and a file system has a limit.
    with tempfile.TemporaryDirectory(
        prefix=f".{dest.name[:50]}.", dir=dest.parent, ignore_cleanup_errors=True
    ) as folder:
        new, old = Path(folder, "new"), Path(folder, "old")
        new.mkdir()
        yield new
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
