"""The streaming evaluator: the numbers of Detectron2's, image by image, for every process."""

import json
import pickle

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.evaluation import COCOPanopticEvaluator
from detectron2.utils import comm
from panopticapi.evaluation import pq_compute
from panopticapi.utils import rgb2id
from PIL import Image
from predictions import feed, imperfect_outputs
from scenes import CLASS_ORDERS, write_dataset

from efficientps_d2 import InputError
from efficientps_d2.evaluation.panoptic_evaluation import PanopticEvaluator


@pytest.mark.parametrize("order", CLASS_ORDERS)
def test_numbers_are_those_of_detectron2(tmp_path, register, order):
    name = register("order", write_dataset(tmp_path / "data", order, count=6))
    records = DatasetCatalog.get(name)
    outputs = imperfect_outputs(records, 4)
    stock = COCOPanopticEvaluator(name, str(tmp_path))
    for output in outputs:  # it looks ids up in one of two tables
        for segment in output["panoptic_seg"][1]:
            segment["isthing"] = False
    feed(stock, records, outputs)
    expected = stock.evaluate()["panoptic_seg"]
    ours = PanopticEvaluator(name, str(tmp_path / "ours"), save_predictions=True)
    feed(ours, records, outputs)
    results = ours.evaluate()["panoptic_seg"]
    assert {k: results[k] for k in expected} == pytest.approx(expected, rel=1e-12)
    assert 0 < results["PQ"] < 100 and 0 < results["PC"] < 100
    assert results["PQ-car"] + results["PQ-person"] == pytest.approx(2 * results["PQ_th"])
    assert results["PQ_dagger-car"] == results["PQ-car"] and 0 < results["PQ_dagger-road"] < 100

    # What it saves scores the same.
    saved = tmp_path / "ours" / "order_panoptic"
    data = tmp_path / "data"
    again = pq_compute(data / "panoptic.json", f"{saved}.json", data / "panoptic", saved)
    assert 100 * again["All"]["pq"] == pytest.approx(expected["PQ"])


def test_a_line_for_each_image(tmp_path, toy):
    records = DatasetCatalog.get(toy)
    evaluator = PanopticEvaluator(toy, str(tmp_path / "out"))
    feed(evaluator, records, imperfect_outputs(records, 4))
    evaluator.evaluate()
    (file,) = (tmp_path / "out").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["image_id"] for line in lines] == [r["image_id"] for r in records]
    for line, record in zip(lines, records, strict=True):
        kinds = [match["kind"] for match in line["matches"]]
        assert kinds.count("tp") + kinds.count("fn") == len(record["segments_info"])


def test_processes_count_together(tmp_path, toy, monkeypatch):
    records = DatasetCatalog.get(toy)
    outputs = imperfect_outputs(records, 4)
    alone = PanopticEvaluator(toy, str(tmp_path / "alone"))
    feed(alone, records, outputs)
    expected = alone.evaluate()["panoptic_seg"]
    both = []
    for rank in (1, 0):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        # Two machines have no disk in common.
        evaluator = PanopticEvaluator(toy, str(tmp_path / f"machine{rank}"))
        feed(evaluator, records[rank::2], outputs[rank::2])
        monkeypatch.setattr(comm, "is_main_process", lambda rank=rank: rank == 0)
        if rank:
            monkeypatch.setattr(comm, "gather", both.append)
            assert evaluator.evaluate() is None
    monkeypatch.setattr(comm, "gather", lambda part: [part, *both])
    results = evaluator.evaluate()["panoptic_seg"]
    assert results == pytest.approx(expected, nan_ok=True)
    (file,) = (tmp_path / "machine0").iterdir()
    assert len(file.read_text().splitlines()) == 3 and not list((tmp_path / "machine1").iterdir())


def test_memory_does_not_grow_with_the_images(tmp_path, toy):
    records = DatasetCatalog.get(toy)
    outputs = imperfect_outputs(records, 4)
    evaluator = PanopticEvaluator(toy, str(tmp_path))
    feed(evaluator, records[:1], outputs[:1])

    def held():
        return len(pickle.dumps({k: v for k, v in vars(evaluator).items() if k != "metadata"}))

    before = held()
    feed(evaluator, records * 20, outputs * 20)
    assert held() < before + 200, "but for digits of the sums"


def test_ground_truth_without_things_has_no_mean_over_things(tmp_path, register, caplog):
    folder = write_dataset(tmp_path / "bare", count=1)
    content = json.loads((folder / "panoptic.json").read_text())
    segments = content["annotations"][0]["segments_info"]
    kept = [s for s in segments if s["category_id"] not in (103, 11)]
    content["annotations"][0]["segments_info"] = kept
    (folder / "panoptic.json").write_text(json.dumps(content))
    png = folder / "panoptic" / "truth_0.png"
    pixels = np.array(Image.open(png))
    pixels[~np.isin(rgb2id(pixels), [s["id"] for s in kept])] = 0
    Image.fromarray(pixels).save(png)
    for segment in kept:
        segment["area"] = int((rgb2id(pixels) == segment["id"]).sum())
    (folder / "panoptic.json").write_text(json.dumps(content))
    name = register("bare", folder)
    evaluator = PanopticEvaluator(name, str(tmp_path / "out"))
    feed(evaluator, DatasetCatalog.get(name), [{"panoptic_seg": (torch.zeros(96, 160).int(), [])}])
    results = evaluator.evaluate()["panoptic_seg"]
    assert np.isnan(results["PQ_th"]) and results["PQ"] == results["PQ_st"] == 0
    assert "no segment of any thing class" in caplog.text


def test_a_ground_truth_that_contradicts_itself_is_named(tmp_path, toy):
    records = DatasetCatalog.get(toy)
    records[0]["segments_info"][0]["area"] = 5
    evaluator = PanopticEvaluator(toy, str(tmp_path))
    with pytest.raises(InputError, match="truth_0.png cannot be scored: .* said to be 5"):
        feed(evaluator, records[:1], imperfect_outputs(records[:1], 4))
