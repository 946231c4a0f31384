"""How much memory there is, and how much an inference takes."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MEMINFO = Path("/proc/meminfo")
CONTAINERS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
# Names of the limit, of what is used, and of what is given up when needed, by version of cgroups.
FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
MARGIN = 1.1  # on what was measured


class Need(NamedTuple):
    """Bytes that an inference holds at most, as they were measured.

    The network computes first, on the pixels to which it resizes and pads the image, then the
    fusion, on those of the image.
    """

    fixed: float
    network_pixel: float
    image_pixel: float

    def of_pixels(self, computed: float, of_image: float) -> float:
        """Bytes of an image of so many pixels, when the network computes on so many."""
        return max(self.network_pixel * computed, self.image_pixel * of_image)

    def total(self, computed: float, of_image: float) -> float:
        """All bytes of such an image, rather more than less."""
        return MARGIN * (self.fixed + self.of_pixels(computed, of_image))


def free_memory() -> int | None:
    """Bytes that the machine and its containers have left; None where nobody says it."""
    found = []
    with contextlib.suppress(OSError, LookupError, ValueError):  # not on Linux
        found.append(_fields(MEMINFO)["MemAvailable:"] * 1024)
    for folder in _containers():
        for most, current, inactive in FILES:
            with contextlib.suppress(OSError, ValueError):  # of the other version, or no limit
                limit, used = (int((folder / name).read_text()) for name in (most, current))
                with contextlib.suppress(OSError, LookupError):
                    used -= _fields(folder / "memory.stat")[inactive]
                found.append(limit - used)
    return min(found, default=None)


def peaks_of(calls: Iterable[Callable[[], object]]) -> list[int] | None:
    """Bytes that the process gets more, at most, in each call; None where nobody says it."""
    found = []
    try:
        before = _fields(PROCESS / "status")["VmRSS:"]
        for call in calls:
            (PROCESS / "clear_refs").write_text("5")  # the peak begins anew
            call()
            found.append((_fields(PROCESS / "status")["VmHWM:"] - before) * 1024)
    except (OSError, LookupError):  # not on Linux
        return None
    return found


def _containers() -> Iterator[Path]:
    """Folders of the control groups of this process, and of those around them."""
    groups = [""]
    with contextlib.suppress(OSError):
        lines = (PROCESS / "cgroup").read_text().splitlines()
        groups = [line.split(":", 2)[2].strip("/") for line in lines if line.count(":") >= 2]
    for root in (CONTAINERS, CONTAINERS / "memory"):
        for group in dict.fromkeys(["", *groups]):
            inner = root / group
            yield from [inner, *inner.parents][: len(inner.parts) - len(root.parts) + 1]


def _fields(file: Path) -> dict[str, int]:
    """The numbers of a file of the kernel, by the word before them."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
