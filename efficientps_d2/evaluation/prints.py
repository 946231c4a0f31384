"""What Cityscapes' and COCO's own code prints during an evaluation goes to the log."""

import contextlib
import io
import logging
from collections.abc import Iterator

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def prints_in_log() -> Iterator[None]:
    """Log at the end of the block what it has printed: ``log.txt`` has it, the console has not."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            yield
        finally:
            log_prints(printed.getvalue())


def log_prints(text: str) -> None:
    """Of this function, by its name, nothing goes to the console (engine/logs.py)."""
    # Of a line that a program has written over, the last version.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.strip().split("\n")]
    if text.strip():
        logger.info("\n%s", "\n".join(lines).replace("\b", ""))
