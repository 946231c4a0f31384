"""What the networks cost, and images on which they differ."""

import importlib
import json
import multiprocessing
import os
import re
import shutil
from concurrent.futures import ProcessPoolExecutor

import cv2
import pytest
import torch
from project import ROOT
from reported_run import write_run

from efficientps_d2.config.building import build_network
from efficientps_d2.data.classes import with_class_counts

SAVED = {"TEST.SAVE_PANOPTIC": True}


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
    assert drawn.name == "1_picture.1.jpg"
    height, width = cv2.imread(str(drawn)).shape[:2]
    assert 2 * 96 < height < 2 * 130 and 2 * 160 < width < 2 * 170, "four panels with captions"


def test_the_caption_of_a_network_without_stuff(load, toy, tiny_config, tmp_path, monkeypatch):
    """It gives no PQ, also where only one other network is there."""
    differences, titles = load("differences"), []
    things = write_run(tiny_config(toy), tmp_path / "things")
    panoptic = shutil.copytree(things, tmp_path / "panoptic")
    config = things / "config.yaml"
    text = config.read_text().replace("EfficientPSSemSegHead", "NoSemSegHead")
    config.write_text(text.replace("META_ARCHITECTURE: EfficientPS", "META_ARCHITECTURE: MaskRCNN"))

    def captions(panels, names):
        titles.extend(names)
        return panels[0]

    monkeypatch.setattr(differences, "side_by_side", captions)
    differences.draw_differences({"a": panoptic, "b": things}, 1, tmp_path / "drawn")
    assert titles[2].startswith("a: PQ ") and titles[3] == "b: things only"


def test_costs(load, toy, tiny_config, tmp_path, monkeypatch):
    cfg = with_class_counts(tiny_config(toy))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(cfg.dump())
    model = build_network(cfg)
    torch.save({"model": model.state_dict()}, tmp_path / "run" / "model_final.pth")
    module, comparison = load("costs"), load("comparison")
    monkeypatch.setattr(module, "IMAGES", 1)
    monkeypatch.setattr(module, "_memory", lambda folder, name: {"predict": 2, "step": 3}[name])
    monkeypatch.setattr(comparison, "costs", lambda folders: module.costs(folders, rounds=1))
    folders = dict.fromkeys(("one", "two"), tmp_path / "run")
    found = comparison.measure(folders, tmp_path / "costs.json")
    one, two = found["one"], found["two"]
    assert one["parameters"] == sum(p.numel() for p in model.parameters()) / 1e6
    assert one["multiply-adds"] == two["multiply-adds"] > 0
    assert one["ms for a step"] > 0 and one["ms for an image"] > 0
    assert one["MB for an image"] == 2 and one["MB for a step"] == 3

    batches = [module.Trained(tmp_path / "run").batch for _ in folders]
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a["image"], b["image"]), "networks learn from the same crops"


def test_memory_is_that_of_the_call_alone(load):
    """Not what the process did before."""
    code = "import numpy, time; x = numpy.ones({}); time.sleep(0.2)"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(exec, code.format(40_000_000)).result()
        grown = load("turns").peak(pool, exec, code.format(10_000_000))
    assert grown == pytest.approx(76, abs=8)


def test_memory_that_is_free_before_is_taken_again(load):
    """Small blocks stay with the process when they are freed, below one that is not."""
    code = "import sys; x = [bytes(50_000) for _ in range(800)]; sys.last = bytes(50_000); del x"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(exec, code).result()
        grown = load("turns").peak(pool, exec, f"{code}; import time; time.sleep(0.1)")
    assert grown > 30


def test_costs_are_measured_again_for_other_weights(load, tmp_path, monkeypatch):
    comparison, measured = load("comparison"), []
    monkeypatch.setattr(comparison, "costs", lambda folders: measured.append(1) or {"n": 1.5})
    weights = tmp_path / "model_final.pth"
    for time, times in ((1, 1), (1, 1), (2, 2)):
        weights.touch()
        os.utime(weights, (time, time))
        assert comparison.measure({"one": tmp_path}, tmp_path / "costs.json") == {"n": 1.5}
        assert len(measured) == times


def test_the_page_has_tables_and_images(load, toy, tiny_config, tmp_path, monkeypatch):
    comparison, compare, Run = load("comparison"), load("compare"), load("plan").Run  # noqa: N806
    runs = []
    for row in ("one", "two"):
        folder = write_run(tiny_config(toy), tmp_path / row)
        (folder / "results.md").touch()
        runs.append(Run("toy", row, 1, folder, "streets", SAVED, None))
    other = Run("other", "one", 1, tmp_path / "none", "streets", SAVED, None)
    scored = Run("toy", "fused", 1, folder, "streets", SAVED, tmp_path / "one")
    monkeypatch.setattr(
        comparison, "measure", lambda folders, file: dict.fromkeys(folders, {"ms": 7})
    )
    monkeypatch.setattr(compare, "main", lambda argv: 0)
    monkeypatch.setattr(load("plan"), "read_plan", lambda *args: [*runs, other, scored])
    output = ["--output", str(tmp_path), "--images", "2"]
    assert comparison.main(["--datasets", "toy", *output]) == 0
    text = (tmp_path / "comparison.md").read_text()
    assert re.search(r"\| one +\| 1 ", text) and "|    7 |" in text and "other" not in text
    costs = text.partition("ms")[2]
    assert "one" in costs and "fused" not in costs, "it has no weights of its own"
    links = re.findall(r"\]\((.*?)\)", text)
    assert len(links) == 2 and all((tmp_path / link).is_file() for link in links)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "measure", interrupted)
    assert comparison.main(output) == compare.INTERRUPTED


def test_what_is_no_plan_is_one_sentence(load, tmp_path):
    with pytest.raises(SystemExit, match="none.yaml is no plan"):
        load("comparison").main(["--plan", str(tmp_path / "none.yaml")])


def test_a_plan_without_images_is_refused_before_it_is_trained(load, tmp_path):
    with pytest.raises(SystemExit, match="comparison.yaml must set TEST.SAVE_PANOPTIC True"):
        load("comparison").main(["--plan", str(ROOT / "tools/benchmarks/plans/comparison.yaml")])
