"""Weights in object storage: ``s3://`` and ``gs://`` for Detectron2's file manager.

iopath's own handler for S3 needs boto3, and what it has fetched once it never looks at again.
"""

import hashlib
from io import BytesIO, TextIOWrapper
from pathlib import Path

from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler, get_cache_dir

PREFIXES = ("s3://", "gs://")


class ObjectStorage(PathHandler):
    """Reads files; what has changed there since is fetched again."""

    _strict_kwargs_check = False

    def _get_supported_prefixes(self) -> list[str]:
        return list(PREFIXES)

    def _place(self, path: str):
        from efficientps_d2_runtime.batch.storage import Folder

        folder, _, name = path.rpartition("/")
        return Folder(folder), name

    def _get_local_path(self, path: str, force: bool = False, **kwargs) -> str:
        folder, name = self._place(path)
        state = hashlib.sha256(f"{path} {folder.state(name)}".encode()).hexdigest()[:16]
        file = Path(get_cache_dir(), "object_storage", state, name)
        if force or not file.is_file():
            folder.fetch(file, name)
        return str(file)

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs):
        if set(mode) & set("wax+"):
            raise OSError(f"{path} is only read here")
        folder, name = self._place(path)
        content = BytesIO(folder.read(name))
        return content if "b" in mode else TextIOWrapper(content, encoding="utf-8")

    def _exists(self, path: str, **kwargs) -> bool:
        folder, name = self._place(path)
        return folder.exists(name)

    def _isfile(self, path: str, **kwargs) -> bool:
        folder, name = self._place(path)
        return name in folder.files()

    def _ls(self, path: str, **kwargs) -> list[str]:
        folder, name = self._place(path.rstrip("/"))
        return folder.files(name)


def register_object_storage() -> None:
    """Let Detectron2 read such addresses; a second call changes nothing."""
    PathManager.register_handler(ObjectStorage(), allow_override=True)
