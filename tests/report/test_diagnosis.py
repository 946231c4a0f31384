"""A run that learned badly says so, with the cause; one that learned well says nothing."""

import logging

import pytest
from detectron2.config import CfgNode
from project import ROOT
from reported_run import training_lines

from efficientps_d2.config.loading import load_config
from efficientps_d2.report.diagnosis import diagnose, warn_of_bad_learning
from efficientps_d2.report.run import Run


def line(iteration, loss, **others):
    return {"iteration": iteration, "total_loss": loss, "panoptic_seg/PQ": 50.0, **others}


@pytest.fixture
def run(tmp_path) -> Run:
    """A run that learned well."""
    iterations = range(19, 400, 20)
    training = [training_lines([i], loss=2.0 / (1 + i / 100))[0] for i in iterations]
    found = ["tp", 1, 900, 0.9, 5, 6]
    return Run(
        folder=tmp_path,
        dataset="toy",
        names=["road", "car", "bus"],
        thing_ids=[1, 2],
        cfg=CfgNode({"MODEL": {"WEIGHTS": "", "META_ARCHITECTURE": "EfficientPS"}}),
        training=training,
        validation=[line(99, 2.0, norm_shift=0.3), line(199, 1.5), line(299, 1.6, norm_shift=0.3)],
        results={"panoptic_seg/PQ_th": 40.0, "bbox/AP50": 60.0},
        results_tta={},
        images=[{"matches": [found, ["fp", 0, 50, 0.0, 0, 3], ["fn", 0, 50, 0.0, 4, 0]]}],
        saved=None,
    )


def test_a_good_run_has_no_warning(run):
    assert diagnose(run) == []


def test_things_at_zero(run):
    run.results["panoptic_seg/PQ_th"] = 0.2
    assert "scores are below MODEL.PANOPTIC_FPN.COMBINE" in "".join(diagnose(run))
    run.results["bbox/AP50"] = 1.0
    (sentence,) = diagnose(run)
    assert "hardly any box fits" in sentence and "--suggest" in sentence
    run.cfg.MODEL.META_ARCHITECTURE = "LPSNetStyle"
    (sentence,) = diagnose(run)
    assert sentence.endswith("hardly any box fits: train longer.")
    run.results["panoptic_seg/PQ_th"] = float("nan")  # there are none
    assert diagnose(run) == []


def test_a_class_that_is_never_predicted(run):
    run.images.append({"matches": [["fn", 2, 80, 0.0, 9, 0], ["fn", 2, 70, 0.0, 8, 0]]})
    (sentence,) = diagnose(run)
    assert "Never predicted: bus (0 of 2 segments)" in sentence and "train longer" in sentence
    run.images.append({"matches": [["fp", 2, 80, 0.0, 0, 9]]})
    assert diagnose(run) == []


def test_a_loss_that_does_not_fall(run):
    for training_line in run.training:
        training_line["loss_mask"] = 0.69
    (sentence,) = diagnose(run)
    assert (
        sentence.startswith("loss_mask did not fall: 0.69 at the start") and "BASE_LR" in sentence
    )
    run.cfg.MODEL.WEIGHTS = "trained.pth"
    assert diagnose(run) == [], "the weights it began with were trained"
    run.training[-1]["loss_mask"] = run.training[-2]["loss_mask"] = 0.9
    assert diagnose(run)[0].startswith("loss_mask rose: 0.69 at the start, 0.9 at the end")
    run.training = run.training[:5]
    assert diagnose(run) == [], "too short to tell"


def test_a_rising_validation_loss(run):
    run.validation[2]["total_loss"] = 1.9
    (sentence,) = diagnose(run)
    assert "rose from 1.5 in iteration 199 to 1.9" in sentence


def test_statistics_of_other_images(run):
    run.validation[2]["norm_shift"] = 1.7
    (sentence,) = diagnose(run)
    assert "1.7 standard deviations" in sentence and "FREEZE_BN_ITER" in sentence


def test_a_run_whose_files_cannot_be_read_does_not_fail(tmp_path, caplog, monkeypatch):
    cfg = load_config(str(ROOT / "configs" / "efficientps_streets.yaml"))
    cfg.OUTPUT_DIR = str(tmp_path)
    # The set-up of a run ends it.
    monkeypatch.setattr(logging.getLogger("efficientps_d2"), "propagate", True)
    with caplog.at_level("WARNING", logger="efficientps_d2"):
        warn_of_bad_learning(cfg)
    assert "was not looked at" in caplog.text and "no results of an evaluation" in caplog.text
