"""Networks take turns in processes of their own, and their medians are given."""

import importlib
import os
import time

import pytest
from project import ROOT

CALLS = []


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    return importlib.import_module("turns")


def build(name: str) -> dict[str, float]:
    CALLS.append(len(name))
    return {"letters": len(name)}


def call() -> dict[str, float]:
    """10, 1, 2, 3, ... times the letters of the name; 80 MB meanwhile."""
    CALLS.append(1)
    held = bytearray(80_000_000)
    time.sleep(0.1)
    number = len(CALLS) - 2 or 10
    return {"value": CALLS[0] * number, "process": os.getpid(), "held": len(held)}


def test_medians_of_processes(turns):
    found = turns.in_turns(["a", "bb"], build, call, 3, "cpu")
    assert list(found) == ["a", "bb"]
    assert [of["letters"] for of in found.values()] == [1, 2]
    assert [of["value"] for of in found.values()] == [2, 4], "of 10, 1 and 2"
    assert found["a"]["process"] != found["bb"]["process"] != os.getpid()
    assert all(70 < of["memory"] < 90 for of in found.values())


def build_or_die(name: str) -> dict[str, float]:
    if name == "bb":
        os._exit(1)  # as a process that Linux kills for lack of memory
    return build(name)


def test_a_network_that_dies_does_not_stop_the_others(turns, capsys):
    assert list(turns.in_turns(["a", "bb"], build_or_die, call, 1, "cpu")) == ["a"]
    assert "bb failed: BrokenProcessPool: " in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="all networks failed"):
        turns.in_turns([], build, call, 1, "cpu")


def test_the_peak_of_a_machine(turns, monkeypatch):
    """Of the fastest of some products of 2048^3 multiply-adds."""
    moments = iter([0, 30, 30, 40, 40, 60, 60, 90, 90, 120])
    monkeypatch.setattr(turns, "now", lambda device: next(moments))
    monkeypatch.setattr(turns, "use", lambda device, threads: None)
    assert turns.machine_peak("cpu", 1) == pytest.approx(2048**3 / 0.01 / 1e9)
