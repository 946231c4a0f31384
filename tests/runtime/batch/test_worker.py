"""A worker without Ray: what it writes, errors, images that kill, and object storage."""

import errno
import json
import os
import pickle
import shutil
import signal
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_stub import FILES, StubModel, begin_batch, write_images, write_plain
from PIL import Image

from efficientps_d2_runtime.batch.ledger import LOADS, TRIES, Ledger
from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.batch.storage import Folder
from efficientps_d2_runtime.batch.worker import Job, Worker
from efficientps_d2_runtime.coco import PanopticWriter
from efficientps_d2_runtime.errors import InputError


def rows(output: Path, table: str) -> list[dict]:
    return pq.read_table(output / table).to_pylist()


@pytest.fixture
def photos(tmp_path) -> Path:
    write_images(tmp_path / "photos", 6)
    return tmp_path / "photos"


def test_a_shard_is_what_one_process_writes(photos, tmp_path):
    worker = begin_batch(str(photos), f"{tmp_path}/out")
    assert [worker.predict_shard(n) for n in (0, 1)] == [(4, 0), (2, 0)]
    model, alone = StubModel(), tmp_path / "alone"
    with PanopticWriter(alone, model.categories) as writer:
        for file in sorted(photos.iterdir()):
            writer.add(file, *model.predict([model.read(file)]))
    expected = json.loads((alone / "panoptic.json").read_text())
    found = [
        json.loads((tmp_path / f"out/shards/00000{n}/panoptic.json").read_text()) for n in (0, 1)
    ]
    assert found[0]["annotations"] + found[1]["annotations"] == expected["annotations"]
    assert found[0]["categories"] == expected["categories"]
    assert [image["id"] for image in found[1]["images"]] == ["0004", "0005"]
    for file in (alone / "panoptic").iterdir():
        (same,) = (tmp_path / "out/shards").glob(f"*/panoptic/{file.name}")
        assert same.read_bytes() == file.read_bytes()
    assert len(rows(tmp_path / "out", "segments")) == 12 and not rows(tmp_path / "out", "errors")
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_images_that_fail_are_rows_and_the_others_go_on(photos, tmp_path):
    (photos / "0001.png").write_bytes(b"no image")
    write_plain(photos / "0002.png", 254)
    write_plain(photos / "0003.png", 253)
    worker = begin_batch(str(photos), f"{tmp_path}/out", 6, batch_size=3)
    assert worker.predict_shard(0) == (6, 3)
    errors = {row["image_id"]: row["error"] for row in rows(tmp_path / "out", "errors")}
    assert errors == {
        "0001": f"{photos}/0001.png cannot be read as an image (its content is of no format that "
        "is read here); give another image.",
        "0002": f"{photos}/0002.png cannot be predicted (RuntimeError: no kernel for this); leave "
        "it out.",
        "0003": f"{photos}/0003.png: This is too dark; give another.",
    }
    assert {row["image_id"] for row in rows(tmp_path / "out", "segments")} == {
        "0000",
        "0004",
        "0005",
    }


def test_images_of_one_size_are_predicted_together(tmp_path):
    write_images(tmp_path / "photos", 5)
    write_images(tmp_path / "photos" / "x", 1, (20, 16))
    (tmp_path / "photos" / "x" / "0000.png").rename(tmp_path / "photos" / "0002.png")
    worker, sizes = begin_batch(str(tmp_path / "photos"), f"{tmp_path}/out", 5, batch_size=4), []
    predict = worker.model.predict
    worker.model.predict = lambda images: sizes.append(len(images)) or predict(images)
    assert worker.predict_shard(0) == (5, 0)
    assert sizes == [2, 1, 2]


class Killed(BaseException):
    """As if the process were gone."""


def test_an_image_that_kills_is_given_up(photos, tmp_path):
    write_plain(photos / "0003.png", 255)
    worker = begin_batch(str(photos), f"{tmp_path}/out", 6)
    deaths = []
    with patch("os.kill", side_effect=Killed) as kill:
        for _ in range(9):
            try:
                result = worker.predict_shard(0)
                break
            except Killed:
                deaths.append(worker.ledger.begin(0))
                worker.ledger.work_on(0, [], 0)
    assert result == (6, 1) and len(deaths) == TRIES == kill.call_count
    assert kill.call_args.args[1] == signal.SIGKILL
    (error,) = rows(tmp_path / "out", "errors")
    assert error["image_id"] == "0003" and "ended its worker 3 times" in error["error"]
    assert len({row["image_id"] for row in rows(tmp_path / "out", "segments")}) == 5
    # Those that were read at the same time are not blamed more than once.
    assert deaths[-1][3] == TRIES and max(n for i, n in deaths[-1].items() if i != 3) == 1


def test_a_worker_in_another_folder_finds_a_relative_output(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worker = begin_batch("photos", "out", 6)
    sent = pickle.dumps(worker.job)
    monkeypatch.chdir(photos)
    job = pickle.loads(sent)
    assert [source.name for source in job.output.images(0)] == [f"000{n}" for n in range(6)]
    assert job.output.folder.place() == str(tmp_path / "out") and job.source.place() == str(photos)


def test_a_finished_shard_is_left_alone(photos, tmp_path):
    (photos / "0005.png").write_bytes(b"no image")
    worker = begin_batch(str(photos), f"{tmp_path}/out", 6)
    worker.predict_shard(0)
    before = (tmp_path / "out/segments/000000.parquet").stat().st_mtime_ns
    assert worker.predict_shard(0) == (6, 1)
    assert (tmp_path / "out/segments/000000.parquet").stat().st_mtime_ns == before
    assert worker.ledger.done() == 6


def test_an_output_that_cannot_be_written_ends_the_work(photos, tmp_path):
    worker = begin_batch(str(photos), f"{tmp_path}/out", 6)
    (tmp_path / "out" / "shards").write_text("a file")
    with pytest.raises(InputError, match="shards/000000/panoptic/.* cannot be written"):
        worker.predict_shard(0)
    assert not (tmp_path / "out" / "segments").exists()


def test_a_full_disk_ends_the_work_with_nothing_half_written(photos, tmp_path, monkeypatch):
    worker = begin_batch(str(photos), f"{tmp_path}/out", 6)

    def fill(source, stream, size):
        stream.write(source.read(20))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", fill)
    with pytest.raises(InputError, match="png cannot be written .No space left on device.; ch"):
        worker.predict_shard(0)
    left = {file.name for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert left == {"batch.json", "images.parquet"}
    monkeypatch.undo()
    assert worker.predict_shard(0) == (6, 0)


def test_if_no_image_works_something_else_is_wrong(tmp_path):
    write_images(tmp_path / "photos", 16)
    for number in range(8):
        write_plain(tmp_path / "photos" / f"{number:04d}.png", 254)
    worker = begin_batch(str(tmp_path / "photos"), f"{tmp_path}/out", 8)
    with pytest.raises(InputError, match="None of 8 images worked, .*0000.png cannot be predicted"):
        worker.predict_shard(0)
    assert worker.predict_shard(1) == (8, 0)
    assert worker.predict_shard(0) == (8, 8)  # others work, so these are what is wrong


def test_a_storage_that_nothing_opens_ends_the_work_soon(tmp_path):
    images = [f"nothing://container/{number}.png" for number in range(20)]
    pq.write_table(pa.table({"url": images}), tmp_path / "urls.parquet")
    worker = begin_batch(str(tmp_path / "urls.parquet"), f"{tmp_path}/out", 20)
    with pytest.raises(InputError, match="None of 8 images worked, .*: nothing://container/0.png"):
        worker.predict_shard(0)


def test_an_image_that_fails_when_it_is_repeated_leaves_no_png(photos, tmp_path):
    worker = begin_batch(str(photos), f"{tmp_path}/out", 6)
    worker.predict_shard(0)
    (photos / "0001.png").write_bytes(b"no image")
    worker.job.output.forget(0)
    assert worker.predict_shard(0) == (6, 1)
    pngs = {file.name for file in (tmp_path / "out").glob("shards/000000/panoptic/*.png")}
    assert pngs == {f"000{number}.png" for number in (0, 2, 3, 4, 5)}


def test_images_that_are_gone_are_rows(tmp_path):
    write_images(tmp_path / "photos", 8)
    worker = begin_batch(str(tmp_path / "photos"), f"{tmp_path}/out", 8)
    for file in (tmp_path / "photos").iterdir():
        file.unlink()
    assert worker.predict_shard(0) == (8, 8)
    assert "it is no longer there" in rows(tmp_path / "out", "errors")[0]["error"]


def test_what_killed_commands_leave_is_no_harm(photos, tmp_path):
    begin_batch(str(photos), f"{tmp_path}/out", 6).predict_shard(0)
    output = Output(f"{tmp_path}/out")
    for place in ("", "segments", "errors"):
        (tmp_path / "out" / place / ".half.partial").write_bytes(b"PAR1")
    (tmp_path / "out" / "report.html.partial").touch()  # of a report that is being written
    assert len(rows(tmp_path / "out", "segments")) == 12 and output.count_errors() == 0
    assert output.finished() == {0} and output.manifest().images == 6
    output.remove_partial()
    (partial,) = (tmp_path / "out").rglob("*.partial")
    assert partial.name == "report.html.partial"
    (tmp_path / "out" / "batch.json").unlink()
    (tmp_path / "out" / "images.parquet").unlink()
    with pytest.raises(InputError, match="out holds errors, which is of something else; give an"):
        output.manifest()


def test_workers_that_die_while_loading_end_the_work():
    ledger = Ledger(2, FILES)
    assert all(ledger.model_files() for _ in range(2 * LOADS)) and ledger.model_files() is None
    ledger.loaded()
    assert ledger.model_files() == FILES
    job = Job(Folder("."), "", Output("nowhere"), None)
    ledger = Ledger(0, FILES)
    with pytest.raises(InputError, match="die while they load the model"):
        Worker(job, ledger)


def test_bytes_in_parquet(photos, tmp_path):
    content = [file.read_bytes() for file in sorted(photos.iterdir())]
    images = pa.array([{"bytes": x, "path": "x.png"} for x in [*content, None]])
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet", row_group_size=2)
    worker = begin_batch(str(tmp_path / "x.parquet"), f"{tmp_path}/out", 7)
    assert worker.predict_shard(0) == (7, 1)
    files = begin_batch(str(photos), f"{tmp_path}/of_files", 7)
    files.predict_shard(0)
    for number in range(6):
        first, second = (
            np.asarray(Image.open(tmp_path / name))
            for name in (
                f"out/shards/000000/panoptic/x_{number:06d}.png",
                f"of_files/shards/000000/panoptic/000{number}.png",
            )
        )
        assert (first == second).all()
    (error,) = rows(tmp_path / "out", "errors")
    assert (
        error["row"] == 6
        and "x.parquet, row 6 cannot be read (the row holds no bytes)" in error["error"]
    )
