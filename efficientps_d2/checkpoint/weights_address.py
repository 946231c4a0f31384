"""``MODEL.WEIGHTS``: a file, or an address of a server or of object storage."""

import os
import urllib.parse

from detectron2.utils.file_io import PathManager
from iopath.common.file_io import get_cache_dir

from efficientps_d2.checkpoint.object_storage import register_object_storage
from efficientps_d2_runtime.errors import InputError, one_line

HTTP = ("http", "https")

register_object_storage()


def require_file(weights: str) -> None:
    """Fail if ``MODEL.WEIGHTS`` is no file; an address is fetched into Detectron2's cache.

    ``?matching_heuristics`` after the name is allowed.
    """
    name = weights.partition("?")[0]
    if "://" not in name:
        if not os.path.isfile(name):
            raise InputError(f"MODEL.WEIGHTS {weights} does not exist; give a checkpoint file.")
        return
    try:
        if os.path.isfile(PathManager.get_local_path(name, **_own_cache(name))):
            return
        reason = "no such address"
    except Exception as error:  # of networks, catalogs and servers: many kinds
        reason = one_line(error)
    raise InputError(
        f"MODEL.WEIGHTS {weights} cannot be fetched ({reason}); check the address and the network, "
        "or give a file."
    )


def _own_cache(address: str) -> dict:
    """The folder of a server: the usual one knows files of all servers by their paths alone."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in HTTP:
        return {}
    return {"cache_dir": os.path.join(get_cache_dir(), parts.netloc.replace(":", "_"))}
