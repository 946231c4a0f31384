"""The benchmarks of exported files: they run the same network, and say what each costs."""

import argparse
import functools
import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from project import ROOT

from efficientps_d2.data.classes import ClassTable
from efficientps_d2_runtime import Segment


@pytest.fixture
def tool(monkeypatch):
    """Imports a benchmark by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    return importlib.import_module


def test_runtimes_have_the_same_network(tool, small_config, monkeypatch, tmp_path):
    runtimes = tool("runtimes")
    monkeypatch.setattr(runtimes.peers, "of_this_project", small_config)
    monkeypatch.setattr(runtimes, "keep_freed_memory", lambda: None)  # of this process
    monkeypatch.setattr(runtimes, "write_whole", lambda *args: args[-1].write_bytes(b"1"))
    folder = runtimes.saved("efficientps_streets", tmp_path)
    file = runtimes.exported(folder, tmp_path)
    args = argparse.Namespace(saved=folder, onnx=file, threads=2, image=None, size=(64, 96))
    found = {}
    for name in (runtimes.EAGER, runtimes.OPTIMISED):
        runtimes.build(name, args)
        found[name] = {**runtimes.predict(), "memory": 3.0}
    first, second = found.values()
    assert first["objects"] == second["objects"] > 0
    second["whole"] = first["whole"] / 4
    rows = [line.split("|") for line in runtimes.table(found).splitlines()]
    assert [row[3].strip() for row in rows[2:]] == ["1.00", "0.25"]

    file.write_bytes(b"kept")
    assert runtimes.saved("efficientps_streets", tmp_path) == folder
    assert runtimes.exported(folder, tmp_path).read_bytes() == b"kept"


def get_key(cfg, key: str):
    return functools.reduce(getattr, key.split("."), cfg)


def test_networks_of_all_kinds_have_configs(tool):
    exports = tool("exports")
    for config, options in exports.NETWORKS.values():
        cfg = exports.peers.of_this_project(config)
        cfg.merge_from_list([x for item in options.items() for x in item])
        assert all(get_key(cfg, key) == value for key, value in options.items())


def test_files_are_compared_with_pytorch(tool):
    exports, classes = tool("exports"), ClassTable(["road", "car"], [1])
    pan_seg = np.array([[1, 1, 2, 2]])
    segments = [Segment(1, 0, "road", False, 1.0, 2), Segment(2, 1, "car", True, 0.9, 2)]
    boxes = np.array([[0.0, 0, 4, 4], [8, 8, 20, 20]], np.float32)
    instances = Instances((1, 4), pred_boxes=Boxes(torch.tensor(boxes)))
    instances.pred_classes = torch.tensor([1, 1])
    expected = SimpleNamespace(
        panoptic_seg=pan_seg, segments=segments, sem_seg=pan_seg, instances=instances
    )
    same = SimpleNamespace(
        panoptic_seg=pan_seg, segments=segments, sem_seg=pan_seg, boxes=boxes, classes=[1, 1]
    )
    assert exports.compare([(same, expected)], classes) == ["100.00", "100.000", "2 of 2"]
    other = SimpleNamespace(
        panoptic_seg=np.array([[1, 1, 1, 1]]),
        segments=[replace(segments[0], area=4)],
        sem_seg=np.array([[1, 1, 1, 2]]),
        boxes=boxes + [[0.2], [0.0]],
        classes=[1, 1],
    )
    assert exports.compare([(other, expected)], classes) == ["0.00", "75.000", "1 of 2"]
