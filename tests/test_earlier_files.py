"""What earlier versions wrote is read as they read it: weights, checkpoints, saved models, runs."""

import gzip
import json
import shutil
from pathlib import Path

import pytest
from detectron2.modeling import build_model
from scenes import unregister, write_dataset

import train_net
from efficientps_d2 import get_config, load_predictor
from efficientps_d2.report.diagnosis import diagnose
from efficientps_d2.report.page import write_report
from efficientps_d2.report.run import read_run

DATA = Path(__file__).parent / "helpers" / "earlier"
EXPECTED = json.loads((DATA / "earlier_run.json").read_text())
STATE_DICTS = json.loads(gzip.decompress((DATA / "earlier_state_dicts.json.gz").read_bytes()))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of the run folder, beside the images it was trained on."""
    (tmp_path / "toy").mkdir()
    write_dataset(tmp_path / "toy" / "train", "mixed")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    folder = tmp_path / "run"
    shutil.copytree(DATA / "earlier_run", folder)
    for lines in (folder / "inference").glob("*.jsonl"):
        lines.write_text(lines.read_text().replace("DATASETS", str(tmp_path)))
    yield folder
    unregister("toy_train")  # found in DETECTRON2_DATASETS


@pytest.mark.parametrize("name", STATE_DICTS)
def test_names_of_weights(name):
    keys = ["MODEL.DEVICE", "cpu", "MODEL.EFFICIENTNET.WEIGHTS", ""]
    keys += ["MODEL.EFFICIENTPS.LINEAR_FPN", False]  # as all were
    cfg = get_config(name, keys).clone()
    cfg.defrost()
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = [str(i) for i in range(19)]
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = list(range(11, 19))
    cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 8, 19
    model = build_model(cfg)
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == STATE_DICTS[name]


def test_a_saved_model_predicts_the_same(run):
    image = run.parent / "toy" / "train" / "images" / "sub" / "picture.1.png"
    prediction = load_predictor(run / "model", "cpu")(image)
    for segment, expected in zip(prediction.segments, EXPECTED["segments"], strict=True):
        found = vars(segment)
        assert found.pop("score") == pytest.approx(expected["score"], abs=1e-3)
        assert found.pop("area") == pytest.approx(expected["area"], abs=5)
        assert found == {k: v for k, v in expected.items() if k not in ("score", "area")}
    instances = prediction.instances
    for i, (class_id, score, box) in enumerate(EXPECTED["instances"]):
        assert int(instances.pred_classes[i]) == class_id
        assert float(instances.scores[i]) == pytest.approx(score, abs=1e-3)
        assert instances.pred_boxes.tensor[i].tolist() == pytest.approx(box, abs=0.1)


def test_a_run_goes_on(run):
    """With other images and draws than the version that began it, so not to the same digits."""
    overrides = ["SOLVER.MAX_ITER", "110", "TEST.EVAL_PERIOD", "0", "OUTPUT_DIR", str(run)]
    config = str(run / "config.yaml")
    arguments = train_net.default_argument_parser().parse_args(
        ["--resume", "--force", "--config-file", config, *overrides]
    )
    train_net.main(arguments)
    metrics = {}
    for line in (run / "metrics.json").read_text().splitlines()[-2:]:
        metrics |= json.loads(line)
    found = {name: metrics[name] for name in EXPECTED["resumed"]}
    losses = [name for name in found if "loss" in name]
    assert len(losses) == 7
    assert [found[k] for k in losses] == pytest.approx(
        [EXPECTED["resumed"][k] for k in losses], rel=0.5
    )
    assert found["total_loss"] == pytest.approx(EXPECTED["resumed"]["total_loss"], rel=0.1)
    # Scores near the threshold may fall on its other side.
    pq = "panoptic_seg/PQ_st"
    assert found[pq] == pytest.approx(EXPECTED["resumed"][pq], abs=3)


def test_a_run_is_reported_the_same(run):
    read = read_run(run)
    assert read.results == pytest.approx(EXPECTED["results"], nan_ok=True)
    assert diagnose(read) == EXPECTED["warnings"]
    page = write_report(run, processes=1).read_text()
    assert f"{EXPECTED['results']['panoptic_seg/PQ']:.1f}" in page
    assert page.count('class="card"') == 3
