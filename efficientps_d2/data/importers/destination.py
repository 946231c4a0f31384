"""The folder that an import may write to."""

import os
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from efficientps_d2_runtime.errors import InputError


def check_destination(source: Path, dest: Path, overwrite: bool) -> None:
    """Refuse a ``dest`` that would lose something or whose datasets have the names of others.

    Raises:
        InputError: if ``dest`` has no name, lies in ``source`` or around it, holds anything but an
            import that may be overwritten, or is called as other datasets.
    """
    if dest.name in ("", ".."):
        raise InputError(f"{dest} has no name to call the dataset after; give DEST a name.")
    inner, outer = (Path(os.path.realpath(folder)) for folder in (dest, source))
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise InputError(f"SOURCE {source} and DEST {dest} contain each other; give another DEST.")
    if dest.exists() and not dest.is_dir():
        raise InputError(f"{dest} is a file; give a folder.")
    if dest.exists():
        if not overwrite:
            raise InputError(f"{dest} exists already; give another folder or --overwrite.")
        if not _is_imported(dest):
            raise InputError(
                f"{dest} holds more than an imported dataset; give another folder or remove it."
            )
    for split in ("train", "val"):
        name = f"{dest.name}_{split}"
        if name in DatasetCatalog.list():
            used = MetadataCatalog.get(name).get("panoptic_json", "")
            if Path(used).resolve() != inner / split / "panoptic.json":
                raise InputError(
                    f'There is another dataset "{name}"; give another folder name as DEST.'
                )


def _is_imported(folder: Path) -> bool:
    """Whether a folder holds nothing but splits that an import wrote."""
    return folder.is_dir() and all(
        split.name in ("train", "val")
        and split.is_dir()
        and {f.name for f in split.iterdir()} == {"images", "panoptic", "panoptic.json"}
        for split in folder.iterdir()
    )
