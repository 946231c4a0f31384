"""Saved models of the Hugging Face hub."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from efficientps_d2_runtime.errors import InputError, one_line

SHOWN = 200  # characters of an error of the network
NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(name: str) -> bool:
    """Whether ``name`` is that of a model of the hub, "user/name", rather than a lost folder."""
    return bool(NAME.fullmatch(name)) and not Path(name).parent.exists()


def fetch_model(name: str, file_names: tuple[str, ...]) -> Path:
    """The folder of a model of the hub, which is fetched once and kept in the hub's cache.

    Args:
        name: "user/name".
        file_names: what is fetched, if it is there.

    Raises:
        InputError: if it cannot be fetched and is not in the cache.
    """
    try:
        return Path(snapshot_download(name, allow_patterns=list(file_names)))
    except Exception as error:  # of the network, of many kinds
        missing = isinstance(error, RepositoryNotFoundError | HFValidationError)
        reason = "there is none, or it needs a login" if missing else one_line(error)[:SHOWN]
        raise InputError(
            f"{name} is no folder here, and no model of this name could be fetched from the "
            f"Hugging Face hub ({reason.rstrip('.')}); give the folder of a saved model."
        ) from error
