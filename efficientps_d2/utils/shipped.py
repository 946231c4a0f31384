"""Folders that come with this project besides its code."""

from pathlib import Path

from efficientps_d2_runtime.errors import InputError


def shipped_folder(name: str) -> Path:
    """The folder "configs" or "models": inside an installed package, beside it in a clone.

    Raises:
        InputError: if it is not there.
    """
    package = Path(__file__).parent.parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise InputError(f"{package / name} is missing; install efficientps_d2 again.")


def shipped_models() -> list[str]:
    """The names of the models that come along."""
    return sorted(folder.name for folder in shipped_folder("models").iterdir() if folder.is_dir())
