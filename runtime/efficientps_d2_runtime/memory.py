"""How much memory there is."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def free_memory() -> int | None:
    """Bytes that can be had without swapping; None where nobody says it (not on Linux)."""
    try:
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, LookupError, ValueError):
        return None
