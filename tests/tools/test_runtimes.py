"""The benchmarks of exported files: they run the same network, and say what each costs."""

import argparse
import importlib

import pytest
from project import ROOT

from efficientps_d2.deploy.whole.check import Agreement


@pytest.fixture
def tool(monkeypatch):
    """Imports a benchmark by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    return importlib.import_module


def test_runtimes_have_the_same_network(tool, small_config, monkeypatch, tmp_path):
    runtimes = tool("runtimes")
    monkeypatch.setattr(runtimes.peers, "of_this_project", small_config)
    monkeypatch.setattr(runtimes, "keep_freed_memory", lambda: None)  # of this process
    folder = runtimes.saved("efficientps_streets", tmp_path)
    file = runtimes.exported(folder, tmp_path)
    args = argparse.Namespace(saved=folder, onnx=file, threads=2, image=None, size=(64, 96))
    found = {}
    for name in (runtimes.EAGER, runtimes.OPTIMISED, runtimes.ONNX):
        runtimes.build(name, args)
        found[name] = {**runtimes.predict(), "memory": 3.0}
    first = found[runtimes.EAGER]
    assert first["objects"] > 0 and {x["objects"] for x in found.values()} == {first["objects"]}
    found[runtimes.ONNX]["whole"] = first["whole"] / 4
    rows = [line.split("|") for line in runtimes.table(found).splitlines()]
    assert [row[3].strip() for row in rows[2::2]] == ["1.00", "0.25"]

    written = file.stat().st_mtime_ns
    assert runtimes.saved("efficientps_streets", tmp_path) == folder
    assert runtimes.exported(folder, tmp_path).stat().st_mtime_ns == written


def test_networks_of_all_kinds_are_compared(tool, small_config, monkeypatch, tmp_path):
    exports = tool("exports")
    for config, options in exports.NETWORKS.values():
        cfg = exports.peers.of_this_project(config)
        cfg.merge_from_list([x for item in options.items() for x in item])
    monkeypatch.setattr(exports.peers, "of_this_project", small_config)
    monkeypatch.setattr(exports, "write_whole", lambda *args: args[-1].write_bytes(b"1" * 10**6))
    same = Agreement((10, 10), 1.0, 4, True, 7, 0.002, 0.0, 1.0)
    other = same._replace(pixels=0.5, same_segments=False)
    monkeypatch.setattr(exports, "check_whole", lambda *_: [same, other])
    name, *row = exports.export("Lite0", tmp_path / "model")
    assert [name, *row] == ["Lite0", "1.0", "75.0000", "1 of 2", 8, 14, "2.0e-03"]
