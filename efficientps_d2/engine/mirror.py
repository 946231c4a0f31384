"""A copy of the folder of a run elsewhere, from which a training goes on on another machine."""

import logging
import tempfile
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm

from efficientps_d2.checkpoint.checkpoint_files import (
    LAST,
    PATTERNS,
    iteration_of,
    last_name,
    newest_checkpoint,
)
from efficientps_d2.checkpoint.checkpointer import BEST, FittingCheckpointer
from efficientps_d2.engine.run_folder import config_of_run, decisive_changes
from efficientps_d2_runtime.errors import InputError

logger = logging.getLogger("efficientps_d2")

CONFIG = "config.yaml"
FETCHED = (CONFIG, "metrics.json", f"{BEST}.pth")  # besides the last checkpoint
LEFT_OUT = ("earlier_run",)


class Mirror:
    """Copies what has changed in the folder of a run, and fetches what a machine lacks."""

    def __init__(self, folder: str, address: str):
        """
        Args:
            folder: ``OUTPUT_DIR``.
            address: ``OUTPUT_MIRROR``, another folder or an address.

        Raises:
            InputError: if nothing here reads such an address.
        """
        from efficientps_d2_runtime.batch.storage import Folder

        self.folder, self.there = Path(folder), Folder(address)
        here = self.folder.resolve()
        if self.there.is_local and Path(self.there.path).resolve().is_relative_to(here):
            raise InputError("OUTPUT_MIRROR is OUTPUT_DIR, or lies in it; give another folder.")
        self._copied: dict[str, tuple] = {}  # size and time of each file

    def last(self) -> str:
        """The name of its last checkpoint; "" if there is none.

        Raises:
            InputError: if it cannot be read.
        """
        if not self.there.exists(LAST):
            return ""
        return self.there.read(LAST).decode("utf-8", errors="replace").strip()

    def refuse_other_run(self) -> None:
        """
        Raises:
            InputError: if it holds a run, which a training that begins would replace.
        """
        if name := self.last():
            raise InputError(
                f"OUTPUT_MIRROR {self.there} holds a run ({name}); go on with it by --resume, or "
                "give another OUTPUT_MIRROR."
            )

    def other_run(self) -> str:
        """The sentence about a mirror of another run than the folder's; "" if it is of the same.

        Raises:
            InputError: if a config cannot be read.
        """
        if not ((here := config_of_run(str(self.folder))) and self.there.exists(CONFIG)):
            return ""
        with tempfile.TemporaryDirectory() as copy:
            self.there.fetch(Path(copy, CONFIG), CONFIG)
            changed = decisive_changes(config_of_run(copy), here)
        return changed and (
            f"OUTPUT_MIRROR {self.there} is of another run than OUTPUT_DIR {self.folder}, which "
            f"began with other values: {changed}; give another of the two, or --force."
        )

    def iteration(self) -> int:
        """The iteration of its last checkpoint; -1 if there is none that can be used."""
        name = self.last()
        if not name or Path(name).name != name:
            return -1
        if (number := name.rpartition("_")[2].removesuffix(".pth")).isdecimal():
            return int(number)
        copy = self.folder / f".{name}"  # of a final one, which alone says when it was
        try:
            self.there.fetch(copy, name)
            return iteration_of(copy)
        finally:
            copy.unlink(missing_ok=True)

    def fetch(self) -> str:
        """Get the last checkpoint; returns its name.

        Raises:
            InputError: if it cannot be read.
        """
        name = self.last()
        for file in (*(f for f in FETCHED if self.there.exists(f)), name, LAST):
            self.there.fetch(self.folder / file, file)
        return name

    def copy(self, last: str = "") -> None:
        """Copy what is new, ``last_checkpoint`` last, and remove checkpoints that are gone.

        Args:
            last: which it should name; by default that of the folder, which may be damaged.

        Raises:
            InputError: if it cannot be written.
        """
        found = {name: state for name, state in self._files() if name != LAST}
        for name, state in found.items():
            if self._copied.get(name) != state:
                self.there.store(self.folder / name, name)
                self._copied[name] = state
        if last := last or last_name(self.folder):
            self.there.write(last.encode(), LAST)
        for name in self.there.files():
            if name not in found and any(Path(name).match(pattern) for pattern in PATTERNS):
                self.there.remove(name)

    def try_to_copy(self) -> None:
        """As :meth:`copy`, by the first process; what fails is copied with the next checkpoint."""
        if not comm.is_main_process():
            return
        try:
            self.copy()
        except (InputError, OSError) as error:
            logger.error("%s The next checkpoint tries again.", error)

    def _files(self):
        """Relative names of the files of the run, with size and time of each."""
        for file in sorted(self.folder.rglob("*")):
            name = file.relative_to(self.folder)
            if file.is_file() and name.parts[0] not in LEFT_OUT and not _is_for_a_moment(file.name):
                stat = file.stat()
                yield name.as_posix(), (stat.st_size, stat.st_mtime_ns)


def _is_for_a_moment(name: str) -> bool:
    return name.startswith(".") or ".partial" in name


def prepare_mirror(folder: str, address: str, resume: bool, force: bool = False) -> str:
    """Let each machine have the last checkpoint, or refuse to replace another run.

    Args:
        folder: ``OUTPUT_DIR``.
        address: ``OUTPUT_MIRROR``; "" for none.
        resume: whether a training goes on.
        force: whether it may go on with the checkpoints of another config.

    Returns:
        The name of what was fetched; "" if nothing was.

    Raises:
        InputError: if it cannot be used.
    """
    if not address:
        return ""
    mirror = Mirror(folder, address)
    if not resume:
        mirror.refuse_other_run()
        return ""
    asked = not force and comm.get_local_rank() == 0
    if told := next(filter(None, comm.all_gather(mirror.other_run() if asked else "")), ""):
        raise InputError(told)
    # A training may have ended between a checkpoint and its copy.
    here = comm.all_gather(_iteration_here(folder))
    there = max(comm.all_gather(mirror.iteration() if comm.is_main_process() else -1))
    newest = max(here)
    if newest > there and comm.get_rank() == here.index(newest):
        mirror.copy(newest_checkpoint(folder).name)
    comm.synchronize()
    fetched = ""
    if comm.get_local_rank() == 0 and here[comm.get_rank()] < max(newest, there):
        fetched = mirror.fetch()
    comm.synchronize()
    return fetched


def _iteration_here(folder: str) -> int:
    """The iteration of the newest checkpoint of this machine; -1 if there is none or none whole."""
    try:
        file = newest_checkpoint(folder)
    except InputError as error:
        logger.warning("%s", error)
        return -1
    return iteration_of(file) if file else -1


def mirror_of(cfg: CfgNode, checkpointer: FittingCheckpointer) -> Mirror | None:
    """The mirror of a config, if it has one; what the checkpointer saves is copied."""
    if not cfg.OUTPUT_MIRROR:
        return None
    mirror = Mirror(cfg.OUTPUT_DIR, cfg.OUTPUT_MIRROR)
    checkpointer.after_save = mirror.try_to_copy
    return mirror
