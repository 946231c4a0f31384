"""The folder that `prepare` writes: whose it is, and what of it an earlier preparation left."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from efficientps_d2.data.datasets.published import Published
from efficientps_d2.data.datasets.register import EXTRAS, SETTINGS, read_settings
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import PARTIAL, replacing_file
from efficientps_d2_runtime.locks import CAN_LOCK, HeldError, lock

LOCK, JSON = ".prepare.lock", "panoptic.json"
PARTS = {"images", "panoptic", JSON, f"{JSON}{PARTIAL}", *EXTRAS.values()}  # of a split
# Of a folder that was claimed, but not more, before the command was killed.
CLAIM = {LOCK, f"{SETTINGS}{PARTIAL}"}
NOTES = "notes"  # of the settings that tell only what must be made again


def digest_of_notes(data: Published) -> dict[str, str]:
    """What the settings say of the notes of all frames; nothing of datasets without notes."""
    notes = {
        split: {frame.name: frame.notes for frame in frames if frame.notes}
        for split, frames in data.splits.items()
    }
    if not any(notes.values()):
        return {}
    text = json.dumps(notes, sort_keys=True)
    return {NOTES: hashlib.sha256(text.encode()).hexdigest()}


@contextlib.contextmanager
def claimed(source: Path, dest: Path, settings: dict, overwrite: bool) -> Iterator[None]:
    """Make ``dest``, or check that it holds the same preparation; no other command may work there.

    Raises:
        InputError: if it holds something else, or another command writes it.
    """
    inner, outer = (Path(os.path.realpath(folder)) for folder in (dest, source))
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise InputError(f"SOURCE {source} and DEST {dest} contain each other; give another DEST.")
    if dest.exists() and not dest.is_dir():
        raise InputError(f"{dest} is a file; give a folder.")
    dest.mkdir(parents=True, exist_ok=True)
    marked = (dest / LOCK).exists()
    with contextlib.ExitStack() as stack:
        if CAN_LOCK:
            try:
                stack.enter_context(lock(dest / LOCK))
            except HeldError as error:
                raise InputError(
                    f"{dest} is being prepared by process {error.holder}; wait for it or stop it."
                ) from error
            except OSError:  # a file system without locks
                pass
        try:
            _require_same(dest, settings, overwrite)
        except InputError:
            if not marked:
                (dest / LOCK).unlink(missing_ok=True)
            raise
        if overwrite:
            _remove_splits(dest)
        elif read_settings(dest).get(NOTES) != settings.get(NOTES):
            _remove_panoptic(dest)
        with replacing_file(dest / SETTINGS) as partial_file:
            partial_file.write_text(json.dumps(settings), encoding="utf-8")
        yield


def _require_same(dest: Path, settings: dict, overwrite: bool) -> None:
    if {entry.name for entry in dest.iterdir()} <= CLAIM:
        return
    before, keys = read_settings(dest), [key for key in settings if key != NOTES]
    if any(key not in before for key in keys):
        raise InputError(f"{dest} holds something else; give another DEST, or remove it.")
    changed = [key for key in keys if before[key] != settings[key]]
    if overwrite or not changed:
        return
    key = changed[0]
    raise InputError(
        f"{dest} was prepared with {key} {before[key]}, not {settings[key]}; give another "
        "DEST, or --overwrite to begin again."
    )


def _remove_splits(dest: Path) -> None:
    """Remove what an earlier preparation wrote, and nothing else.

    Raises:
        InputError: if a folder holds more.
    """
    splits = [entry for entry in dest.iterdir() if entry.is_dir()]
    for split in splits:
        if others := sorted({entry.name for entry in split.iterdir()} - PARTS):
            raise InputError(
                f"{split} holds {others[0]}, which `prepare` has not written; give another DEST."
            )
    for split in splits:
        shutil.rmtree(split)


def _remove_panoptic(dest: Path) -> None:
    """Remove what the notes of frames have gone into, so that it is made again."""
    for file in (*dest.glob(f"*/{JSON}"), *dest.glob("*/panoptic/*.png")):
        file.unlink()
