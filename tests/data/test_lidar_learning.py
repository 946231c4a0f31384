"""The whole path of laser scans, from files to points, trains and improves, without any data."""

import json

import pytest
from one_step import ONE_STEP, SMALL
from project import call_verb
from scenes import unregister

from efficientps_d2.data.streets.lidar import write_lidar_streets


@pytest.fixture
def scans(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    write_lidar_streets(tmp_path / "scans", 1)
    yield tmp_path / "scans"
    for split in ("train", "val"):
        unregister(f"semantic_kitti_{split}")


def test_points_are_labelled_better_after_a_short_training(scans, tmp_path):
    """IoU of points after 1 and after 50 iterations; the classes that never occur count as 0."""
    scores = {}
    for iterations in (1, 50):
        run = tmp_path / f"run_{iterations}"
        overrides = [*ONE_STEP, *SMALL, "INPUT.CROP.SIZE", "(64, 256)", "OUTPUT_DIR", run]
        overrides += ["SOLVER.MAX_ITER", iterations, "SOLVER.WARMUP_ITERS", 5]
        overrides += ["SOLVER.STEPS", "()", "INPUT.MIN_SIZE_TRAIN", "(64,)"]
        call_verb("prepare", "semantic_kitti", scans, "--train", "--opts", *overrides)
        file = run / "inference" / "semantic_kitti_val_metrics.json"
        scores[iterations] = json.loads(file.read_text())["results"]["points/mIoU"]
    assert scores[50] > scores[1] + 5, scores
