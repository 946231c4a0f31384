"""Perfect predictions must score 100 in every metric, for every order of classes."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.evaluation import (
    evalInstanceLevelSemanticLabeling,
    evalPixelLevelSemanticLabeling,
)
from detectron2.data import DatasetCatalog, MetadataCatalog
from panopticapi.utils import rgb2id
from PIL import Image
from predictions import evaluate_perfect_predictions, perfect_outputs
from scenes import CLASS_ORDERS, write_dataset

from efficientps_d2 import InputError, register_cityscapes_layout
from efficientps_d2.data.streets.dataset import make_streets
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2.evaluation.build import build_panoptic_evaluator
from efficientps_d2.evaluation.cityscapes_evaluation import NumPyWithIn1d
from efficientps_d2.evaluation.instance_evaluation import ThingsCOCOEvaluator, write_instance_json
from efficientps_d2.evaluation.results import results_table
from efficientps_d2_runtime.files import LOCK
from efficientps_d2_runtime.locks import lock


@pytest.mark.parametrize("order", CLASS_ORDERS)
def test_perfect_predictions_on_coco_panoptic_data(tmp_path, register, tiny_config, order):
    name = register("perfect", write_dataset(tmp_path / "perfect", order))
    cfg = tiny_config(name, "TEST.PICTURES", 1)
    results = evaluate_perfect_predictions(cfg, name)
    for metric in ("PQ", "SQ", "RQ", "PQ_th", "PQ_st"):
        assert results["panoptic_seg"][metric] == pytest.approx(100.0), metric
    assert results["segm"]["AP"] == pytest.approx(100.0)
    assert results["bbox"]["AP"] == pytest.approx(100.0)
    assert results["sem_seg"]["mIoU"] == pytest.approx(100.0)
    assert "AP-person" in results["segm"]
    table = results_table(results)
    assert "| All" in table and "| All" not in results_table(results, things_only=True)
    assert "100.0" in table and "mIoU" in table and "mask AP" in table
    (image,) = (tmp_path / "output" / "pictures").iterdir()
    assert np.asarray(Image.open(image)).std() > 10


@pytest.mark.parametrize("limit, counted", [(50, 100), (100, 100), (300, 300), (-1, 10**6)])
def test_ap_counts_all_detections_that_the_config_allows(
    toy, tiny_config, tmp_path, limit, counted
):
    """COCO's own 100 at least; -1 stands for any number."""
    cfg = tiny_config(toy, "TEST.DETECTIONS_PER_IMAGE", limit)
    evaluators = build_panoptic_evaluator(cfg, toy, str(tmp_path))._evaluators
    (evaluator,) = [e for e in evaluators if isinstance(e, ThingsCOCOEvaluator)]
    assert evaluator._max_dets_per_image[-1] == counted


def test_ap_without_detections_is_zero(toy, tmp_path):
    records = DatasetCatalog.get(toy)
    evaluator = ThingsCOCOEvaluator(toy, str(tmp_path))
    evaluator.reset()
    for record in records:
        outputs = perfect_outputs(record, [2, 3], 4)
        evaluator.process([record], [{**outputs, "instances": outputs["instances"][:0]}])
    results = evaluator.evaluate()
    assert results["bbox"]["AP"] == results["segm"]["AP50"] == 0
    assert np.isnan(results["segm"]["APs"])
    for annotation in evaluator._coco_api.anns.values():
        annotation["iscrowd"] = 1
    assert np.isnan(evaluator.evaluate()["bbox"]["AP"])


@pytest.fixture(params=["installed", "2.4"])
def numpy_version(request, monkeypatch):
    """NumPy as it is, and with what newer versions have changed under cityscapesscripts 2.3.0."""
    if request.param == "2.4":
        monkeypatch.delattr(np, "in1d", raising=False)
        count = np.count_nonzero
        monkeypatch.setattr(np, "count_nonzero", lambda *args, **kw: np.intp(count(*args, **kw)))


@pytest.fixture
def no_open_lock(monkeypatch):
    """A network share keeps the name of a file that is open, so that its folder cannot go."""
    cleanup = tempfile.TemporaryDirectory.cleanup

    def checked(folder):
        lock(Path(folder.name, LOCK)).close()  # fails if it is held
        cleanup(folder)

    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", checked)


def test_perfect_predictions_on_cityscapes_layout(
    tmp_path, tiny_config, monkeypatch, numpy_version, no_open_lock, capsys
):
    """The same through Cityscapes' own evaluators, which want contiguous ids 11 to 18."""
    numpy_before = dict(vars(np))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    root = tmp_path / "streets.v1"
    make_streets(root, splits={"train": 1, "val": 2}, seed=3)
    register_cityscapes_layout("perfect_val", str(root), "val")
    try:
        cfg = tiny_config("perfect_val", "OUTPUT_DIR", os.path.join("..", "output"))
        folder = Path(cfg.OUTPUT_DIR, "inference").absolute()
        killed = build_panoptic_evaluator(cfg, "perfect_val", str(folder))
        killed.reset()
        alive = build_panoptic_evaluator(cfg, "perfect_val", str(folder))
        alive.reset()
        for evaluator in killed._evaluators:
            if hasattr(evaluator, "_working_dir"):
                evaluator._working_dir._finalizer.detach()  # as if the process had died
                evaluator._use.close()
        assert len(list(folder.glob("cityscapes_eval_*"))) == 4
        results = evaluate_perfect_predictions(cfg, "perfect_val")
        left = {str(path) for path in folder.glob("cityscapes_eval_*")}
        assert left == {e._temp_dir for e in alive._evaluators if hasattr(e, "_temp_dir")}
    finally:
        DatasetCatalog.remove("perfect_val")
        MetadataCatalog.pop("perfect_val")
    assert results["panoptic_seg"]["PQ"] == pytest.approx(100.0)
    assert results["panoptic_seg"]["PQ_th"] == pytest.approx(100.0)
    assert results["segm"]["AP"] == pytest.approx(100.0)
    assert results["bbox"]["AP"] == pytest.approx(100.0)
    assert results["sem_seg"]["mIoU"] == pytest.approx(100.0)
    for task, key in (("segm", "AP-car"), ("bbox", "AP-car"), ("sem_seg", "IoU-road")):
        assert results[task][key] == pytest.approx(100.0), "each class"
    assert "Images Processed" not in capsys.readouterr().out
    assert list(work.iterdir()) == [], "cityscapesscripts writes matches.json here by itself"
    assert vars(np) == numpy_before
    for scripts in (evalInstanceLevelSemanticLabeling, evalPixelLevelSemanticLabeling):
        assert scripts.np is np


def test_in1d_for_cityscapesscripts():
    """What NumPy 1.26 gives."""
    in1d = NumPyWithIn1d("numpy").in1d
    image = np.array([[0, 7, 8], [255, 7, 0]], np.uint8)
    assert in1d(image, [-1, 7, 255]).tolist() == [False, True, False, True, True, False]
    assert in1d(image, [0], invert=True).tolist() == [False, True, True, True, True, False]


def test_newer_detectron2_finds_cityscapesscripts():
    """Its evaluators import the package under an internal name (detectron2#5436)."""
    code = (
        "from efficientps_d2.evaluation import cityscapes_evaluation\n"
        "cityscapes_evaluation.redirect_cityscapesscripts()\n"
        "cityscapes_evaluation.redirect_cityscapesscripts()\n"
        "from deeplearning.projects.cityscapesApi.cityscapesscripts.helpers.labels import labels\n"
        "import deeplearning.projects.cityscapesApi.cityscapesscripts.evaluation"
        ".evalInstanceLevelSemanticLabeling as internal\n"
        "import cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling as public\n"
        "assert internal is public and len(labels) == 35\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_damaged_or_contradicting_ground_truth_stops_an_evaluation(tmp_path, register, tiny_config):
    folder = write_dataset(tmp_path / "truth", count=1)
    name = register("truth", folder)
    png = folder / "panoptic" / "truth_0.png"
    good = png.read_bytes()
    png.write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match="picture.0.jpg or its panoptic PNG cannot be read"):
        list(Trainer.build_test_loader(tiny_config(name), name))
    Image.fromarray(np.zeros((96, 160, 3), np.uint8)).save(png)
    with pytest.raises(InputError, match="truth_0.png disagrees with its JSON"):
        list(Trainer.build_test_loader(tiny_config(name), name))


def test_wrong_classes_are_punished(tmp_path, register, tiny_config):
    """The table of class ids matters: things exchanged for one another lose all their points."""
    name = register("swapped", write_dataset(tmp_path / "swapped"))
    evaluator = Trainer.build_evaluator(tiny_config(name), name)
    evaluator.reset()
    swap = {2: 3, 3: 2}
    for record in DatasetCatalog.get(name):
        outputs = perfect_outputs(record, [2, 3], 4)
        for segment in outputs["panoptic_seg"][1]:
            segment["category_id"] = swap.get(segment["category_id"], segment["category_id"])
        instances = outputs["instances"]
        instances.pred_classes = 5 - instances.pred_classes
        evaluator.process([record], [outputs])
    results = evaluator.evaluate()
    assert results["panoptic_seg"]["PQ_th"] == 0
    assert results["panoptic_seg"]["PQ_st"] == pytest.approx(100.0)
    assert results["segm"]["AP"] < 1


def test_instance_json_holds_the_things(tmp_path, register):
    folder = write_dataset(tmp_path / "things", "mixed", count=2)
    content = json.loads((folder / "panoptic.json").read_text())
    content["annotations"][0]["segments_info"][2]["iscrowd"] = 1
    (folder / "panoptic.json").write_text(json.dumps(content))
    name = register("things", folder)
    write_instance_json(name, str(tmp_path / "instances.json"))
    instances = json.loads((tmp_path / "instances.json").read_text())
    assert [(c["id"], c["name"]) for c in instances["categories"]] == [(7, "car"), (11, "person")]
    expected = []
    for annotation in content["annotations"]:
        pan_seg = rgb2id(np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])))
        for s in annotation["segments_info"]:
            if s["category_id"] in (7, 11):
                area = float((pan_seg == s["id"]).sum())
                expected.append((annotation["image_id"], s["category_id"], s["iscrowd"], area))
    assert expected == [
        (a["image_id"], a["category_id"], a["iscrowd"], a["area"]) for a in instances["annotations"]
    ]
