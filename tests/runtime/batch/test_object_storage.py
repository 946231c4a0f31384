"""Input and output in object storage: a real server that speaks S3."""

import datetime
import importlib
import os
import sys

import pyarrow.parquet as pq
import pytest
from batch_stub import begin_batch, write_images
from pyarrow import fs

from efficientps_d2_runtime import batch
from efficientps_d2_runtime.batch.listing import list_images
from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.batch.storage import Folder, why
from efficientps_d2_runtime.errors import InputError


@pytest.fixture
def bucket(object_storage, tmp_path) -> fs.FileSystem:
    """The storage, with photos in s3://bucket/photos."""
    write_images(tmp_path / "photos", 5)
    fs.copy_files(str(tmp_path / "photos"), "bucket/photos", destination_filesystem=object_storage)
    return object_storage


def predict(source: str, output: str) -> Output:
    assert Output(output).manifest() is None
    worker = begin_batch(source, output, 3)
    assert [worker.predict_shard(n) for n in (0, 1)] == [(3, 0), (2, 0)]
    return Output(output)


def test_results_are_those_of_a_disk(bucket, tmp_path):
    here = predict(str(tmp_path / "photos"), str(tmp_path / "out"))
    there = predict("s3://bucket/photos", "s3://results/out")
    assert there.finished() == here.finished() == {0, 1}
    selector = fs.FileSelector("results/out/shards", recursive=True)
    files = [info.path for info in bucket.get_file_info(selector) if info.is_file]
    pngs = sorted(path for path in files if path.endswith(".png"))
    assert len(pngs) == 5 and len(files) == 7
    for path in pngs:
        local = tmp_path / path.removeprefix("results/")
        assert bucket.open_input_stream(path).read() == local.read_bytes()
    table = pq.read_table("results/out/segments", filesystem=bucket)
    columns = [name for name in table.column_names if name != "image"]
    assert table.select(columns).equals(pq.read_table(tmp_path / "out/segments").select(columns))
    assert table["image"][0].as_py() == "s3://bucket/photos/0000.png"
    assert there.count_errors() == 0 and there.images(1)[0].image == "s3://bucket/photos/0003.png"
    there.forget(1)
    assert there.finished() == {0} and not there.is_finished(1)


def test_an_upload_that_is_stopped_leaves_nothing(bucket):
    folder = Folder("s3://results/out")

    class Stopped:
        def __init__(self):
            self.parts = [b"half"]

        def read(self, size):
            if not self.parts:
                raise KeyboardInterrupt
            return self.parts.pop()

    with pytest.raises(KeyboardInterrupt):
        folder._write(Stopped(), "x.png")
    assert folder.files() == []


def test_addresses_keep_their_letters(bucket):
    folder = Folder("s3://results/run#1/a?b")
    folder.write(b"1", "x")
    assert Folder("s3://results/run#1/a?b?region=eu-central-1").files() == ["x"]
    assert folder.name("x") == "s3://results/run#1/a?b/x"


def test_a_slash_at_the_end_is_no_other_address():
    for end in ("", "?region=eu-central-1"):
        assert Folder(f"s3://bucket/x/{end}").whole_address == f"s3://bucket/x{end}"


def test_patterns(bucket):
    images = list_images("s3://bucket/**/000[12].png")["image"].to_pylist()
    assert images == ["s3://bucket/photos/0001.png", "s3://bucket/photos/0002.png"]
    assert len(list_images("s3://bucket/**")) == 5


def test_the_endpoint_may_be_part_of_the_address(bucket, monkeypatch):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    address = f"s3://bucket/photos?scheme=http&endpoint_override={endpoint.removeprefix('http://')}"
    assert list_images(address)["image"][0].as_py() == "s3://bucket/photos/0000.png"


def test_the_seconds_of_a_request_may_be_part_of_the_address(bucket):
    assert Folder("s3://bucket/photos?request_timeout=0.5").files()[0] == "0000.png"
    with pytest.raises(InputError, match="cannot be opened .could not convert string to float"):
        Folder("s3://bucket/photos?request_timeout=x")


def test_mistakes(bucket, monkeypatch):
    with pytest.raises(InputError, match="s3://nowhere/x does not exist"):
        list_images("s3://nowhere/x")
    with pytest.raises(InputError, match="s3://nowhere/x/batch.json cannot be written .*bucket"):
        Output("s3://nowhere/x").folder.write(b"", "batch.json")
    with pytest.raises(InputError, match="s3://bucket/photos?.* cannot be opened"):
        Folder("s3://bucket/photos?regoin=x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="s3://bucket/photos cannot be read .*endpoint"):
        list_images("s3://bucket/photos")


def test_errors_of_google_come_soon():
    for options, seconds in (("", 30), ("?retry_limit_seconds=5", 5)):
        made_with = str(Folder(f"gs://anonymous@bucket/x{options}").filesystem.__reduce__())
        assert repr(datetime.timedelta(seconds=seconds)) in made_with


@pytest.mark.parametrize(
    "text, told",
    [
        (
            "google::cloud::Status(UNAVAILABLE: Retry policy exhausted, with a last message of "
            "Could not connect to server error_info={reason=, domain=, metadata={}})",
            "Could not connect to server",
        ),
        ("google::cloud::Status(PERMISSION_DENIED: no access)", "PERMISSION_DENIED: no access"),
        ("google::cloud::what may come", "google::cloud::what may come"),
    ],
)
def test_what_google_says(text, told):
    cure = "check bucket, credentials (GOOGLE_APPLICATION_CREDENTIALS) and endpoint"
    assert why(OSError(text)) == f"({told}); {cure}"


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="object storage need pyarrow; run: pip install -e runti"):
        importlib.reload(batch)


def test_pyarrow_that_needs_a_newer_numpy(monkeypatch, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError('pyarrow requires NumPy 2.0')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyarrow")
    with pytest.raises(InputError, match=r"requires NumPy 2.0\); .* pip install \"pyarrow<26\""):
        importlib.reload(batch)
