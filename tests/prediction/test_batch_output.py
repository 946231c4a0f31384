"""What predict-batch does to a folder, and says of Ray, before anything is predicted."""

import errno
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from batch_stub import begin_batch, stub_model, write_images

from efficientps_d2.prediction.batch import predict_batch
from efficientps_d2.prediction.ray_cluster import running_ray
from efficientps_d2_runtime import locks
from efficientps_d2_runtime.batch.image_table import write_listing
from efficientps_d2_runtime.batch.listing import list_images
from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.batch.storage import Folder
from efficientps_d2_runtime.errors import InputError

NOBODY = "127.0.0.1:9"


@pytest.fixture
def photos(tmp_path) -> Path:
    write_images(tmp_path / "photos", 4)
    return tmp_path / "photos"


def run(source, output, address: str = NOBODY) -> int:
    return predict_batch(str(source), Output(str(output)), stub_model(), address=address)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_folder_of_something_else_is_left_as_it_is(photos, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    pq.write_table(pa.table({"path": [str(photos / "0000.png")]}), folder / "images.parquet")
    (folder / "download.partial").touch()
    before = contents(folder)
    for source in (photos, folder / "images.parquet"):
        with pytest.raises(InputError, match="mine holds download.partial, which is of someth"):
            run(source, folder)
    (folder / "download.partial").unlink()
    with pytest.raises(InputError, match="mine holds images.parquet, which is of something else"):
        run(folder / "images.parquet", folder)
    del before["download.partial"]
    assert contents(folder) == before


def test_what_did_not_begin_leaves_folders_as_they_were(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        with pytest.raises(InputError, match="does not answer"):
            run(photos, tmp_path / name)
    assert contents(tmp_path / "empty") == {} and not (tmp_path / "new").exists()


def test_a_listing_that_a_killed_start_has_left_is_replaced(photos, tmp_path):
    output = Output(str(tmp_path / "out"))
    output.folder.write(write_listing(list_images(str(photos)), 2), "images.parquet")
    assert output.manifest() is None


def test_an_output_begins_wholly_or_not_at_all(photos, tmp_path, monkeypatch):
    output, write = Output(str(tmp_path / "out")), Folder.write

    def fail(folder, content, *names):
        if names == ("batch.json",):
            raise InputError("full")
        write(folder, content, *names)

    begun = begin_batch(str(photos), str(tmp_path / "other")).job.output.manifest()
    monkeypatch.setattr(Folder, "write", fail)
    with pytest.raises(InputError, match="full"):
        output.begin(begun, b"listing")
    assert contents(tmp_path / "out") == {}


def test_a_slash_at_the_end_and_another_folder_are_no_other_input(
    photos, tmp_path, monkeypatch, capsys
):
    begin_batch(str(photos), str(tmp_path / "out")).predict_shard(0)
    assert run(f"{photos}/", tmp_path / "out") == 0
    monkeypatch.chdir(tmp_path)
    assert run("photos", tmp_path / "out") == 0
    assert capsys.readouterr().out.count("All 4 images of") == 2
    monkeypatch.chdir(photos)
    with pytest.raises(InputError, match="was begun with --input"):
        run("photos", tmp_path / "out")


def test_settings_are_told_as_they_are_given(photos, tmp_path):
    begin_batch(str(photos), str(tmp_path / "out"))
    for flag, value, told in (
        (
            "--confidence-threshold",
            0.0,
            "--confidence-threshold, not with .* 0.0",
        ),
        ("--opts", ["SEED", "1"], "--opts, not with --opts SEED 1;"),
    ):
        model = stub_model()
        model.about[flag] = value
        with pytest.raises(InputError, match=f"out was begun without {told}"):
            predict_batch(str(photos), Output(str(tmp_path / "out")), model, address=NOBODY)


def test_folders_that_are_left_out_are_named(photos, tmp_path, capsys):
    note = f"The folders in {photos} are left out; '{photos}/**' takes their images, too."
    for name, told in ((".hidden", False), ("more", True)):
        (photos / name).mkdir()
        for source in (photos, f"{photos}/**", photos / "0000.png"):
            with pytest.raises(InputError, match="does not answer"):
                run(source, tmp_path / "out")
            assert (note in capsys.readouterr().out) == (told and source == photos)


def test_a_file_system_without_locks(photos, tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(InputError, match="does not answer"):
        run(photos, tmp_path / "out")
    assert "out cannot be locked (Function not implemented): start no second" in (
        capsys.readouterr().out
    )


def test_mistakes_of_ray(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", NOBODY)
    with pytest.raises(InputError, match=f"^RAY_ADDRESS {NOBODY} does not answer .*; give HOST"):
        run(photos, tmp_path / "out", address="")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(InputError, match="Ray runs in this process already; call ray.shutdown"):
        run(photos, tmp_path / "out")


@pytest.mark.parametrize("failures", [1, 2])
def test_a_busy_machine_starts_ray_twice(monkeypatch, failures):
    """In a thread, too, where no handler of a signal can be set."""
    calls, caught, niceness = [], [], "RAY_worker_niceness"

    def start(address, **_):
        assert os.environ[niceness] == "0", "workers would wait for other programs"
        calls.append(address)
        if calls.count("local") <= failures:
            raise TimeoutError("no answer.\nlater")

    def use():
        try:
            with running_ray("", 0):
                calls.append("used")
        except InputError as error:
            caught.append(str(error))

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(os, "environ", {**os.environ})
    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("ended"))
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    if failures == 1:
        assert calls == ["local", "ended", "local", "used", "ended"] and not caught
    else:
        assert calls == ["local", "ended"] * 2
        assert caught[0].startswith("Ray cannot be used on this machine (no answer.")
