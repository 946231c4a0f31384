"""What is wrong with single images, said all at once."""

from collections.abc import Sequence

from efficientps_d2.data.checks.problems import shown
from efficientps_d2_runtime.errors import InputError

SHOWN_FAULTS = 20
LONG = 100_000  # letters; a sentence without its end names no cure


def raise_faults(faults: Sequence[InputError]) -> None:
    """Fail if there are any; several have a line each."""
    by_text = {str(fault): fault for fault in faults}
    if len(by_text) == 1:
        raise faults[0]
    if by_text:
        lines = [shown(line, LONG) for line in list(by_text)[:SHOWN_FAULTS]]
        if more := len(by_text) - len(lines):
            lines.append(f"and {more} more.")
        raise InputError("\n".join([f"{len(by_text)} things must be corrected:", *lines]))
