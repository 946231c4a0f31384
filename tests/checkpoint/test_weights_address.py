"""MODEL.WEIGHTS in object storage."""

from pathlib import Path

import pytest
from detectron2.utils.file_io import PathManager

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.weights_address import require_file
from efficientps_d2_runtime.batch.storage import Folder


def test_weights_are_fetched_once_and_again_when_they_change(object_storage, tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    folder, address = Folder("s3://bucket/models"), "s3://bucket/models/model.pth"
    folder.write(b"first", "model.pth")
    require_file(address)
    file = Path(PathManager.get_local_path(address))
    assert file.read_bytes() == b"first" and file.name == "model.pth"
    file.write_bytes(b"as it was")
    assert Path(PathManager.get_local_path(address)).read_bytes() == b"as it was"
    folder.write(b"second", "model.pth")
    assert Path(PathManager.get_local_path(address)).read_bytes() == b"second"
    assert PathManager.open(address, "rb").read() == b"second"
    assert PathManager.open(address).read() == "second"
    assert PathManager.exists(address) and PathManager.isfile(address)
    assert PathManager.ls("s3://bucket/models/") == ["model.pth"]
    with pytest.raises(OSError, match="only read here"):
        PathManager.open(address, "w")


def test_weights_that_are_not_there(object_storage):
    with pytest.raises(InputError, match="MODEL.WEIGHTS s3://bucket/no.pth cannot be fetched"):
        require_file("s3://bucket/no.pth")
