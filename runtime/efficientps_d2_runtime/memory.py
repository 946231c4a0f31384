"""How much memory there is."""

import contextlib
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that the machine and the container have left; None where nobody says it."""
    found = []
    with contextlib.suppress(OSError, LookupError, ValueError):  # not on Linux
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((CONTAINER / f"memory.{x}").read_text()) for x in ("max", "current"))
        found.append(limit - used)
    return min(found, default=None)
