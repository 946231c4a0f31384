"""Folders that come with this project besides its code."""

from pathlib import Path


def shipped_folder(name: str) -> Path:
    """The folder "configs" or "models": inside an installed package, beside it in a clone."""
    package = Path(__file__).parent.parent
    return next(f for f in (package / name, package.parent / name) if f.is_dir())
