"""The benchmark of whole inferences: stages add up, and its table compares networks."""

import argparse
import importlib

import pytest
from project import ROOT

from efficientps_d2.deploy.optimize import optimize_for_inference


@pytest.fixture
def inference(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    return importlib.import_module("inference")


@pytest.mark.parametrize("name", ["EfficientPS", "EfficientPS, optimised"])
def test_stages_add_up(inference, small_config, monkeypatch, name):
    monkeypatch.setitem(inference.NETWORKS, name, lambda: small_config("efficientps_streets"))
    monkeypatch.setattr(inference, "keep_freed_memory", lambda: None)  # of this process
    args = argparse.Namespace(
        precision="float32", compile=False, size=(64, 96), detections=3, threads=2, device="cpu"
    )
    timed = inference.Timed(name, args)
    times = timed.predict()
    stages = [times[stage] for stage in (*inference.STAGES, inference.REST)]
    assert sum(stages) == pytest.approx(times["whole"]) and min(stages) > 0
    assert times["objects"] == 3 and timed.multiply_adds > 0
    optimized = getattr(timed.model, "is_optimized", False)
    assert optimized == name.endswith("optimised")
    assert optimize_for_inference(timed.model).training is False


def test_networks_are_compared_with_the_first(inference):
    costs = {"whole": 200.0, "multiply-adds": 4.0, "objects": 5, "memory": 70.0, "RPN": 30.0}
    half = {**costs, "whole": 100.0, "multiply-adds": float("nan")}
    lines = inference.table({inference.FIRST: costs, "other": half}, 40.0).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    header, first, other = rows[0], rows[2], rows[3]
    assert first[header.index("ratio")] == "1.00" and other[header.index("ratio")] == "0.50"
    assert first[header.index("% of peak")] == "50", "4e9 in 0.2 s, of 40e9 in a second"
    assert other[header.index("% of peak")] == "" and other[header.index("RPN")] == "30"
