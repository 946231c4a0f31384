"""Batches on a Ray cluster of two nodes: same results, and nothing lost whoever is killed."""

import contextlib
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from batch_cluster import (
    alive,
    begin_command,
    kill_while_predicting,
    require_complete,
    two_nodes,
)
from batch_stub import StubModel, stub_model, write_images, write_plain
from project import run_verb
from served_page import until
from small_network import write_small_network

from efficientps_d2.prediction.batch import predict_batch
from efficientps_d2.prediction.ray_cluster import Resources, share_out
from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.coco import write_segment_ids
from efficientps_d2_runtime.errors import InputError


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture
def pids(tmp_path) -> Path:
    """A folder in which each worker leaves the id of its process."""
    (tmp_path / "pids").mkdir()
    return tmp_path / "pids"


def run(cluster, photos, output, model=None, **options) -> int:
    options = {"address": cluster.address, "workers": 2, **options}
    return predict_batch(str(photos), Output(str(output)), model or stub_model(), **options)


def kill_one(pids: Path, deadline: float = 300) -> None:
    """Kill a worker as soon as there is one."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        for process in alive(pids):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(process, signal.SIGKILL)
                return
        time.sleep(0.05)
    raise AssertionError("no worker has begun")


def test_the_results_are_those_of_one_process(cluster, tmp_path, capsys):
    write_images(tmp_path / "photos", 20)
    assert run(cluster, tmp_path / "photos", tmp_path / "out") == 0
    assert f"Wrote 20 of 20 images to {tmp_path / 'out'}.\n" in capsys.readouterr().out
    require_complete(tmp_path / "out", {f"{n:04d}" for n in range(20)})
    model = StubModel()
    for file in (tmp_path / "photos").iterdir():
        (prediction,) = model.predict([model.read(file)])
        write_segment_ids(tmp_path / "expected.png", prediction.panoptic_seg)
        (png,) = (tmp_path / "out").glob(f"shards/*/panoptic/{file.name}")
        assert png.read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_killed_workers_and_an_image_that_kills(cluster, tmp_path, pids, capsys):
    write_images(tmp_path / "photos", 24)
    write_plain(tmp_path / "photos" / "0013.png", 255)
    model = stub_model(pids, pause=0.05)
    with ThreadPoolExecutor() as threads:
        killed = threads.submit(kill_one, pids)
        assert run(cluster, tmp_path / "photos", tmp_path / "out", model, size=6) == 1
        killed.result()
    (error,) = pq.read_table(tmp_path / "out" / "errors").to_pylist()
    assert error["image_id"] == "0013" and "has ended its worker 3 times" in error["error"]
    require_complete(tmp_path / "out", {f"{n:04d}" for n in range(24)} - {"0013"})
    assert "1 failed; " in capsys.readouterr().out
    assert len(list(pids.iterdir())) >= 5  # two, one for the killed one, and two for the image
    # What is complete is not begun again, but for its errors on request.
    begun = len(list(pids.iterdir()))
    assert run(cluster, tmp_path / "photos", tmp_path / "out", model) == 1
    assert "All 24 images of" in capsys.readouterr().out and len(list(pids.iterdir())) == begun
    write_images(tmp_path / "photos", 24)
    assert run(cluster, tmp_path / "photos", tmp_path / "out", model, retry_errors=True) == 0
    require_complete(tmp_path / "out", {f"{n:04d}" for n in range(24)})


def test_a_killed_command_goes_on(cluster, tmp_path):
    kill_while_predicting(cluster, tmp_path, 40, 5, ["command"])


def test_a_stopped_command_ends_its_workers(cluster, tmp_path, pids):
    photos, output, log = (tmp_path / name for name in ("photos", "out", "log.txt"))
    write_images(photos, 8)
    command = begin_command(cluster, photos, output, log, pids, pause=600)
    until(lambda: alive(pids) or command.poll() is not None, 300)
    command.send_signal(signal.SIGINT)
    assert command.wait() == 130
    said = command.text().strip().splitlines()[-1]
    assert re.search("Stopped: 0 of 8 images are done, .*; the same command goes on.$", said)
    until(lambda: not alive(pids))
    assert Output(str(output)).manifest().images == 8 and not list(output.rglob("*.partial"))


def test_the_command_with_a_network_in_a_file(cluster, tmp_path, capsys):
    write_images(tmp_path / "photos", 3)
    (tmp_path / "photos" / "0001.png").write_bytes(b"no image")
    model = write_small_network(tmp_path / "model.onnx")
    flags = ("--input", tmp_path / "photos", "--output", tmp_path / "out", "--runtime", "onnx")
    assert run_verb("predict-batch", *flags, "--model", model, "--address", cluster.address) == 1
    out = capsys.readouterr().out
    assert "3 images to predict; 2 workers with 1 core each load the model first." in out
    assert "Wrote 2 of 3 images" in out
    require_complete(tmp_path / "out", {"0000", "0002"})


def test_mistakes_of_output_and_cluster(cluster, tmp_path):
    write_images(tmp_path / "photos", 2)
    run(cluster, tmp_path / "photos", tmp_path / "out")
    with pytest.raises(InputError, match="out holds results of another model, which was stub; go"):
        run(cluster, tmp_path / "photos", tmp_path / "out", stub_model(sha256="2"))
    with pytest.raises(InputError, match="was begun with --input .*photos, not with --input .*x;"):
        run(cluster, tmp_path / "x", tmp_path / "out")
    with pytest.raises(InputError, match="photos holds 0000.png, which is of something else"):
        run(cluster, tmp_path / "photos", tmp_path / "photos")
    with pytest.raises(InputError, match="--workers is 9, but there are 2 cores; give fewer"):
        run(cluster, tmp_path / "photos", tmp_path / "other", workers=9)
    assert not (tmp_path / "other" / "batch.json").exists()
    with pytest.raises(InputError, match="ray://h:1 is an address of Ray Client"):
        run(cluster, tmp_path / "photos", tmp_path / "other", address="ray://h:1")
    assert not ray.is_initialized()


def test_a_model_that_no_worker_can_load(cluster, tmp_path):
    write_images(tmp_path / "photos", 2)
    files = (tmp_path / name for name in ("photos", "out", "log.txt", ""))
    command = begin_command(cluster, *files, pause=0, model={"weights": "damaged"})
    assert command.wait() == 1
    said = command.text()
    assert said.splitlines()[-1] == "Error: The weights are of another model; copy them again."
    assert "Traceback" not in said and "retries" not in said, "what Ray says of it"


def test_resources():
    cpu, gpu = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}
    assert share_out([cpu], 0) == Resources(2, 4)
    assert share_out([{"CPU": 2.0}], 0) == Resources(1, 2)
    assert share_out([cpu, {"CPU": 2.0}, {"object_store_memory": 1.0}], 0) == Resources(5, 2)
    assert share_out([cpu], 3) == Resources(3, 2)
    assert share_out([{"CPU": 3.0}, {"CPU": 3.0}], 3) == Resources(3, 1)
    assert share_out([cpu, gpu, gpu], 0) == Resources(4, 4, 1)
    assert share_out([cpu, gpu], 1) == Resources(1, 4, 1)
    assert share_out([cpu, gpu], 6, uses_gpu=False) == Resources(6, 4)
    assert share_out([{"GPU": 1.0}], 0) == Resources(1, 1, 1)
    with pytest.raises(InputError, match="there are 2 GPUs"):
        share_out([cpu, gpu], 3)
