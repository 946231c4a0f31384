"""The benchmark of evaluations: its parts add up, and its results are those of an evaluation."""

import importlib

import pytest
import torch
from project import ROOT

from efficientps_d2.data.classes import with_class_counts


def test_parts_of_an_evaluation(toy, tiny_config, keen_model, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    evaluation_parts = importlib.import_module("evaluation_parts")
    monkeypatch.setattr(evaluation_parts, "keep_freed_memory", lambda: None)  # of this process
    (tmp_path / "config.yaml").write_text(with_class_counts(tiny_config(toy)).dump())
    torch.save({"model": keen_model.state_dict()}, tmp_path / "model_final.pth")
    rows, results = evaluation_parts.measure(tmp_path, ["TEST.DETECTIONS_PER_IMAGE", "3"])
    names = [name for name, _, _ in rows]
    assert names[0] == "network" and names[-1] == "loading, and the rest"
    assert {"ThingsCOCOEvaluator", "PanopticEvaluator", "PanopticSemSegEvaluator"} <= set(names)
    assert all(images >= 0 and end >= 0 for _, images, end in rows) and rows[0][1] > 0
    assert {"panoptic_seg", "sem_seg", "segm", "bbox"} <= set(results)
    shares = [
        line.split("|")[-2].strip(" %") for line in evaluation_parts.table(rows).splitlines()[2:]
    ]
    assert sum(map(float, shares)) == pytest.approx(100, abs=0.5)
