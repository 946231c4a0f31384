"""Batches on a Ray cluster of two nodes: same results, and nothing lost whoever is killed."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from batch_stub import StubModel, stub_model, write_images, write_plain
from ray.cluster_utils import Cluster

from efficientps_d2.prediction.batch import predict_batch
from efficientps_d2.prediction.ray_cluster import Resources, share_out
from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.coco import write_segment_ids
from efficientps_d2_runtime.errors import InputError

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # of nodes and workers
        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        cluster.add_node(**NODE)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def pids(tmp_path) -> Path:
    """A folder in which each worker leaves the id of its process."""
    (tmp_path / "pids").mkdir()
    return tmp_path / "pids"


def run(cluster, photos, output, model=None, **options) -> int:
    options = {"address": cluster.address, "workers": 2, **options}
    return predict_batch(str(photos), Output(str(output)), model or stub_model(), **options)


def alive(pids: Path) -> list[int]:
    found = []
    for file in pids.iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.name), 0)
            found.append(int(file.name))
    return found


def kill_one(pids: Path, deadline: float = 60) -> None:
    """Kill a worker as soon as there is one."""
    end = time.monotonic() + deadline
    while not (found := alive(pids)):
        assert time.monotonic() < end, "no worker has begun"
        time.sleep(0.05)
    os.kill(found[0], signal.SIGKILL)


def require_complete(output: Path, names: set[str]) -> None:
    """Each image is in exactly one shard, in JSON, PNGs and tables alike."""
    images = [
        image["id"]
        for file in sorted(output.glob("shards/*/panoptic.json"))
        for image in json.loads(file.read_text())["images"]
    ]
    assert len(images) == len(set(images)) and set(images) == names
    pngs = [file.stem for file in output.glob("shards/*/panoptic/*.png")]
    assert len(pngs) == len(names) and set(pngs) == names
    segments = pq.read_table(output / "segments").to_pylist()
    keys = [(row["image_id"], row["segment_id"]) for row in segments]
    assert len(keys) == len(set(keys)) and {image for image, _ in keys} == names
    assert not list(output.rglob("*.partial"))


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
    killer = threading.Thread(target=kill_one, args=(pids,))
    killer.start()
    model = stub_model(pids, pause=0.05)
    assert run(cluster, tmp_path / "photos", tmp_path / "out", model, size=6) == 1
    killer.join()
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


def test_a_node_leaves_and_another_comes(cluster, tmp_path, pids):
    write_images(tmp_path / "photos", 40)
    extra = cluster.list_all_nodes()[-1]

    def change() -> None:
        while len(alive(pids)) < 2:
            time.sleep(0.05)
        cluster.remove_node(extra, allow_graceful=False)
        cluster.add_node(**NODE)

    changer = threading.Thread(target=change)
    changer.start()
    model = stub_model(pids, pause=0.1)
    assert run(cluster, tmp_path / "photos", tmp_path / "out", model, size=5) == 0
    changer.join()
    require_complete(tmp_path / "out", {f"{n:04d}" for n in range(40)})


def test_mistakes_of_output_and_cluster(cluster, tmp_path):
    write_images(tmp_path / "photos", 2)
    run(cluster, tmp_path / "photos", tmp_path / "out")
    with pytest.raises(InputError, match="out holds results of another model, which was stub; go"):
        run(cluster, tmp_path / "photos", tmp_path / "out", stub_model(sha256="2"))
    with pytest.raises(InputError, match="was begun with the input .*photos', and now it is '.*x'"):
        run(cluster, tmp_path / "x", tmp_path / "out")
    with pytest.raises(InputError, match="photos holds 0000.png, which is of something else"):
        run(cluster, tmp_path / "photos", tmp_path / "photos")
    with pytest.raises(InputError, match="--workers is 9, but there are 2 cores; give fewer"):
        run(cluster, tmp_path / "photos", tmp_path / "other", workers=9)
    assert not (tmp_path / "other" / "batch.json").exists()
    with pytest.raises(InputError, match="ray://h:1 is an address of Ray Client"):
        run(cluster, tmp_path / "photos", tmp_path / "other", address="ray://h:1")
    assert not ray.is_initialized()


def test_resources():
    cpu, gpu = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}
    assert share_out([cpu], 0) == Resources(2, 4)
    assert share_out([{"CPU": 2.0}], 0) == Resources(1, 2)
    assert share_out([cpu, {"CPU": 2.0}, {"object_store_memory": 1.0}], 0) == Resources(5, 2)
    assert share_out([cpu], 3) == Resources(3, 2)
    assert share_out([{"CPU": 3.0}, {"CPU": 3.0}], 3) == Resources(3, 1)
    assert share_out([cpu, gpu, gpu], 0) == Resources(4, 4, 1)
    assert share_out([cpu, gpu], 1) == Resources(1, 4, 1)
    with pytest.raises(InputError, match="there are 2 GPUs"):
        share_out([cpu, gpu], 3)
