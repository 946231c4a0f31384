"""A Ray cluster of two nodes on this machine, and commands that predict a batch on it."""

import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from batch_stub import stub_model, write_images
from forked_commands import Command
from served_page import until

from efficientps_d2.prediction.batch import predict_batch
from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.errors import exit_status

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@contextlib.contextmanager
def two_nodes() -> Iterator:
    """A ``Cluster``, each node with one core; their processes find the tests' modules."""
    from ray.cluster_utils import Cluster  # here, for commands set variables that Ray reads

    handler = signal.getsignal(signal.SIGTERM)  # each node sets its own
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("RAY_worker_niceness", "0")  # else they wait for the other tests
        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        cluster.add_node(**NODE)
        signal.signal(signal.SIGTERM, handler)
        yield cluster
        cluster.shutdown()
    signal.signal(signal.SIGTERM, handler)


def begin_command(cluster, photos: Path, output: Path, log: Path, pids: Path, **options) -> Command:
    """A process that predicts; its workers leave the ids of their processes in ``pids``."""
    given = {"photos": photos, "output": output, "pids": pids, "address": cluster.address}
    return Command([json.dumps({**given, **options}, default=str)], log, log.parent, main=_predict)


def _predict(arguments: list[str]) -> int:
    given = json.loads(arguments[0])
    model = stub_model(given.pop("pids"), given.pop("pause"), **given.pop("model", {}))
    photos, output = given.pop("photos"), Output(given.pop("output"))
    return exit_status(lambda: predict_batch(photos, output, model, workers=2, **given))


def alive(pids: Path) -> list[int]:
    """The workers that live."""
    found = []
    for file in pids.iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.name), 0)
            found.append(int(file.name))
    return found


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


def kill_while_predicting(cluster, folder: Path, count: int, size: int, events: list[str]) -> None:
    """Predict a batch while things die, evenly over its images; nothing is lost or doubled.

    Args:
        cluster: of :func:`two_nodes`.
        folder: for images and results.
        count: of the images.
        size: of the shards.
        events: "worker", "node" or "command", which is then repeated.
    """
    photos, output, pids = (folder / name for name in ("photos", "out", "pids"))
    write_images(photos, count)
    pids.mkdir()
    begun = cluster, photos, output, folder / "log.txt", pids
    command, chance, finished = begin_command(*begun, pause=0.02, size=size), random.Random(0), {}
    for number, event in enumerate(events, 1):
        _wait_for_images(output, number * count // (len(events) + 1), command)
        if event == "worker":
            until(lambda: alive(pids))
            os.kill(chance.choice(alive(pids)), signal.SIGKILL)
        elif event == "node":
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
            cluster.add_node(**NODE)
        else:
            command.send_signal(signal.SIGKILL)
            command.wait()
            until(lambda: not alive(pids))
            finished = {f: f.stat().st_mtime_ns for f in output.glob("segments/*.parquet")}
            begun_shards = {f.name for f in (output / "shards").iterdir()}
            # One of each worker, also of those that were killed: their shards may wait in a queue.
            assert len(begun_shards - {f.stem for f in finished}) <= 2 + number - 1
            command = begin_command(*begun, pause=0.02, size=size)
    assert command.wait(600) == 0, command.text()
    require_complete(output, {f"{n:04d}" for n in range(count)})
    assert all(file.stat().st_mtime_ns == time for file, time in finished.items())


def _wait_for_images(output: Path, count: int, command: Command) -> None:
    def done() -> bool:
        found = sum(1 for _ in output.glob("shards/*/panoptic/*.png"))
        return found >= count or command.poll() is not None

    until(done, 300)
    assert command.poll() is None, command.text()
