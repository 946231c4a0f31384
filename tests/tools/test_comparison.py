"""What the networks cost, and images on which they differ."""

import importlib
import json
import shutil

import cv2
import pytest
import torch
from project import ROOT
from reported_run import write_run

from efficientps_d2.config.building import build_network
from efficientps_d2.data.classes import with_class_counts


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    return importlib.import_module


def test_images_where_networks_differ(load, toy, tiny_config, tmp_path):
    first = write_run(tiny_config(toy), tmp_path / "first")
    second = shutil.copytree(first, tmp_path / "second")
    file = second / "inference" / "toy_images.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["matches"] = [{**m, "kind": "fn", "iou": 0.0} for m in lines[1]["matches"]]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    folders = {"EfficientPS": first, "the other": second}
    (drawn,) = load("differences").draw_differences(folders, 1, tmp_path / "drawn")
    assert drawn.name == "picture.1.jpg"
    height, width = cv2.imread(str(drawn)).shape[:2]
    assert 2 * 96 < height < 2 * 130 and 2 * 160 < width < 2 * 170, "four panels with captions"


def test_costs(load, toy, tiny_config, tmp_path, monkeypatch):
    cfg = with_class_counts(tiny_config(toy))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(cfg.dump())
    model = build_network(cfg)
    torch.save({"model": model.state_dict()}, tmp_path / "run" / "model_final.pth")
    module, comparison = load("costs"), load("comparison")
    monkeypatch.setattr(module, "IMAGES", 1)
    monkeypatch.setattr(module, "_memory", module._growth)  # without a process for each
    monkeypatch.setattr(comparison, "costs", lambda folders: module.costs(folders, rounds=1))
    folders = dict.fromkeys(("one", "two"), tmp_path / "run")
    found = comparison.measure(folders, tmp_path / "costs.json")
    one, two = found["one"], found["two"]
    assert one["parameters"] == sum(p.numel() for p in model.parameters()) / 1e6
    assert one["multiply-adds"] == two["multiply-adds"] > 0
    assert one["ms for a step"] > 0 and one["ms for an image"] > 0 and one["MB for a step"] >= 0

    batches = [module.Trained(tmp_path / "run").batch for _ in folders]
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a["image"], b["image"]), "networks learn from the same crops"

    monkeypatch.delattr(comparison, "costs")  # what is known is not measured again
    assert comparison.measure(folders, tmp_path / "costs.json") == found
    with pytest.raises(NameError):
        comparison.measure({"one": tmp_path / "run"}, tmp_path / "costs.json")
