"""Images wherever they are: object storage that fails, and the web."""

import pytest
from batch_stub import write_images
from file_server import serving_files

from efficientps_d2_runtime.batch import reading
from efficientps_d2_runtime.batch.image_table import ImageSource
from efficientps_d2_runtime.batch.storage import Folder, why


def test_reading_again_when_storage_fails(monkeypatch):
    files, calls = reading.ImageFiles(Folder("memory://x"), ""), []

    def content(source):
        calls.append(source)
        if len(calls) < 3:
            raise OSError("slow down")
        return b"content", ".png"

    monkeypatch.setattr(reading, "PAUSES", (0, 0))
    monkeypatch.setattr(files, "_content", content)
    with files.file(ImageSource("memory://x/a.png", None, "a")) as file:
        assert file.read_bytes() == b"content" and file.suffix == ".png"
    assert len(calls) == 3 and not file.exists()


def test_images_of_the_web(tmp_path):
    write_images(tmp_path, 1)
    with serving_files(tmp_path) as address:
        files = reading.ImageFiles(Folder(str(tmp_path)), "")
        with files.file(ImageSource(f"{address}/0000.png?key=a.b", None, "0000")) as file:
            assert file.read_bytes() == (tmp_path / "0000.png").read_bytes()
            assert file.suffix == ".png"
        missing = ImageSource(f"{address}/1.png", None, "1")
        with pytest.raises(FileNotFoundError) as caught, files.file(missing):
            pass
    assert why(caught.value) == "(nothing is found there); check path and rights"


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_what_waiting_does_not_mend_is_read_once(monkeypatch, error):
    files, calls = reading.ImageFiles(Folder("memory://x"), ""), []

    def content(source):
        calls.append(source)
        raise error

    monkeypatch.setattr(files, "_content", content)
    with pytest.raises(error), files.file(ImageSource("memory://x/a.png", None, "a")):
        pass
    assert len(calls) == 1
