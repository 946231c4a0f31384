"""The benchmark of training steps: stages add up, and its table compares networks."""

import argparse
import importlib

import pytest
from project import ROOT


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    return importlib.import_module("training")


@pytest.mark.parametrize("keys", [{}, {"SOLVER.GRADIENT_ACCUMULATION": 0}])
def test_stages_add_up(training, small_config, monkeypatch, keys):
    monkeypatch.setattr(training, "STUFF", 2)
    monkeypatch.setattr(training.peers, "CLASSES", 4)
    monkeypatch.setattr(training.peers, "THINGS", 2)
    network = (lambda: small_config("efficientps_streets"), keys)
    monkeypatch.setitem(training.NETWORKS, "small", network)
    args = argparse.Namespace(size=(64, 96), objects=3, batch=2, amp=None, threads=1, device="cpu")
    timed = training.Timed("small", args)
    sizes = []
    timed.model.register_forward_pre_hook(lambda model, inputs: sizes.append(len(inputs[0])))
    times = timed.step()
    assert sizes == ([1, 1] if keys else [2])
    assert sum(times[stage] for stage in training.STAGES) == pytest.approx(times["whole"])
    assert min(times.values()) > 0


def test_a_scene_teaches_all_kinds_of_networks(training):
    image = training.scene(64, 96, 4, seed=1)
    instances, semantic = image["instances"], image["sem_seg"]
    assert len(instances) <= 4 and instances.gt_masks.tensor.any(dim=(1, 2)).all()
    for mask, label in zip(instances.gt_masks.tensor, instances.gt_classes, strict=True):
        assert (semantic[mask] == label + training.STUFF).all()
    assert set(semantic.unique().tolist()) > set(range(training.STUFF))
    assert image["center"].max() == 1 and image["offset"].shape == (2, 64, 96)


def test_networks_are_compared_with_the_first(training):
    costs = {"forward": 100.0, "backward": 200.0, "optimizer": 20.0, "whole": 320.0}
    costs |= {"memory": 500.0, "parameters": 40.0}
    half = {**costs, "whole": 160.0, "memory": 1000.0}
    lines = training.table({"other": half, training.FIRST: costs}).splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells == ["other", "100", "200", "20", "160", "0.50", "1000", "2.00", "40.0"]
