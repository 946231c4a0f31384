"""The one exception for mistakes that a user can cure, and what commands make of it."""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

# A disk that is full or broken, or a share that is gone; not every system knows all of them.
_NAMES = {"ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ENOTCONN", "ESTALE", "EREMOTEIO"}
DISK = {getattr(errno, name, None) for name in _NAMES} - {None}


class InputError(ValueError):
    """A wrong config value, file or dataset.

    Its message is one sentence that names the file or key and says what to do; commands
    print that sentence instead of a traceback and exit with its status.
    """

    status = 1


class Stopped(KeyboardInterrupt):
    """Ctrl-C, with a sentence on what is written and how to go on."""


def one_line(error: Exception) -> str:
    """The text of an error of a library, which may go over several lines, for one sentence."""
    return " ".join(str(error).split())


def one_sentence(error: Exception) -> str:
    """The message of an InputError, without the traceback that another process wraps around it."""
    return str(error).strip().splitlines()[-1].removeprefix(f"{__name__}.InputError: ")


def sentence_of(error: OSError) -> str:
    """What to say of a file that cannot be read or written."""
    file = error.filename2 or error.filename or "A file"  # of a copy, the second is written
    reason = error.strerror or one_line(error)
    return f"{file} cannot be used ({reason}); check path, rights and disk space."


def exit_status(command: Callable[[], int]) -> int:
    """Run a command; returns its exit status: 1 after a printed error, 130 after Ctrl-C.

    SIGTERM ends it as Ctrl-C does, with what it has begun cleaned up.
    """
    if hasattr(sys.stdout, "reconfigure"):  # a terminal may lack letters of names and labels
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _ending_on_sigterm():
            return command()
    except InputError as error:
        message, status = f"Error: {error}", error.status
    except BrokenPipeError:  # of "| head", which has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if not error.filename and error.errno not in DISK:  # a network, for instance
            raise
        message, status = f"Error: {sentence_of(error)}", 1
    except KeyboardInterrupt as error:
        message, status = f"Stopped: {error}" if isinstance(error, Stopped) else "Stopped.", 130
    if sys.stdout:  # in a file of both streams, the error comes last
        with contextlib.suppress(OSError, ValueError):  # full, or closed
            sys.stdout.flush()
    # Only now, when the frames of the error are gone, have progress bars ended their line.
    print(message, file=sys.stderr)
    return status


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Clean up after SIGTERM, as after Ctrl-C; a training then has a handler of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
