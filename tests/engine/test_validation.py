"""Validation during a training: its curve, the best weights, stopping early, resuming all of it."""

import json
import logging
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import write_dataset

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.weights_file import read_weights
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.engine.trainer import Trainer


def saved(folder: str, name: str) -> dict:
    return read_weights(Path(folder, name))


def test_the_best_weights_are_kept_and_saved_as_the_model(make_trainer):
    """And can be read, though some evaluators give NumPy's numbers."""
    trainer = make_trainer(map(np.float64, [10, 30, 20, 25, 30]))
    trainer.train()
    folder = trainer.cfg.OUTPUT_DIR
    best = saved(folder, "model_best.pth")
    assert best["iteration"] == 1 and best["metric"] == {"panoptic_seg/PQ": 30.0}
    # Iterations 0 to 2, the end, and the best once more for the files of the run.
    assert [last for _, last, _ in trainer.calls] == [False, False, False, True, True]
    assert torch.equal(trainer.calls[4][2], trainer.calls[1][2])
    assert not torch.equal(trainer.calls[4][2], trainer.calls[3][2])
    model = saved(folder, "model/model.safetensors")["model"]
    assert all(torch.equal(v, best["model"][k]) for k, v in model.items())
    final = saved(folder, "model_final.pth")["model"]
    assert any(not torch.equal(v, best["model"][k]) for k, v in final.items())
    assert Path(folder, "last_checkpoint").read_text() == "model_final.pth", "for --resume"


def test_the_last_weights_are_evaluated_once_if_they_are_the_best(make_trainer):
    trainer = make_trainer([10.0, 20.0, 30.0, 40.0])
    trainer.train()
    assert saved(trainer.cfg.OUTPUT_DIR, "model_best.pth")["iteration"] == 3
    assert len(trainer.calls) == 4


def test_patience_ends_a_run_with_its_best_weights(make_trainer, caplog):
    patience = ("SOLVER.MAX_ITER", 50, "TEST.PATIENCE", 2)
    with caplog.at_level(logging.INFO, logger="efficientps_d2"):
        trainer = make_trainer([20.0, 30.0, 30.0, 29.0, 30.0], *patience)
        trainer.train()
    assert "has not improved for 2 evaluations (TEST.PATIENCE)" in caplog.text
    folder = trainer.cfg.OUTPUT_DIR
    assert saved(folder, "model_best.pth")["iteration"] == 1
    assert torch.load(Path(folder, "model_final.pth"), weights_only=False)["iteration"] == 3
    assert torch.equal(trainer.calls[-1][2], trainer.calls[1][2])
    # The end of a run stays its end.
    again = make_trainer([30.0], *patience, resume=True)
    again.train()
    assert len(again.calls) == 1, "no iteration, and no evaluation but the last"
    assert torch.equal(again.calls[0][2], trainer.calls[1][2])


def test_a_complete_run_that_is_resumed_says_so(make_trainer, caplog):
    make_trainer([10.0, 20.0, 30.0, 40.0]).train()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="efficientps_d2"):
        again = make_trainer([40.0], resume=True)
        again.train()
    assert "has had its 4 iterations already" in caplog.text
    assert "Training from" not in caplog.text
    lines = Path(again.cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()
    assert max(json.loads(line)["iteration"] for line in lines) == 4


def test_fewer_iterations_than_a_run_has_had(make_trainer, caplog):
    make_trainer([10.0, 20.0, 30.0, 40.0]).train()
    with caplog.at_level(logging.INFO, logger="efficientps_d2"):
        again = make_trainer([40.0], "SOLVER.MAX_ITER", 2, resume=True)
        again.train()
    assert "has had its 4 iterations already" in caplog.text and again.iter == 4


def test_the_model_is_saved_before_an_augmented_evaluation(make_trainer, monkeypatch):
    """Which may take long, and may be stopped."""
    monkeypatch.setattr(Trainer, "test_with_TTA", lambda *_: signal.raise_signal(signal.SIGINT))
    trainer = make_trainer([10.0, 20.0, 30.0, 40.0], "TEST.AUG.ENABLED", True)
    with pytest.raises(SystemExit):
        trainer.train()
    assert saved(trainer.cfg.OUTPUT_DIR, "model/model.safetensors")


def test_the_best_value_survives_an_interruption(make_trainer):
    """Also one in the middle of an evaluation, whose iteration was saved by the signal."""
    trainer = make_trainer([30.0, 20.0], "SOLVER.MAX_ITER", 9)
    trainer.checkpointer.save = lambda *_, **__: None  # nothing but what a signal saves
    with pytest.raises(StopIteration):  # of the script, in the third evaluation
        trainer.train()
    del trainer.checkpointer.save
    trainer.iter = 2
    trainer.checkpointer.save("model_0000002", iteration=2)

    resumed = make_trainer([25.0, 10.0, 26.0, 30.0], "SOLVER.MAX_ITER", 5, resume=True)
    resumed.train()
    assert [iteration for iteration, *_ in resumed.calls][:2] == [2, 3]
    assert saved(resumed.cfg.OUTPUT_DIR, "model_best.pth")["iteration"] == 0
    assert torch.equal(resumed.calls[-1][2], trainer.calls[0][2])


def test_patience_may_be_over_in_an_evaluation_that_is_made_up_for(make_trainer):
    patience = ("SOLVER.MAX_ITER", 9, "TEST.PATIENCE", 2)
    trainer = make_trainer([30.0, 20.0, signal.SIGTERM], *patience)
    with pytest.raises(SystemExit):
        trainer.train()
    resumed = make_trainer([20.0, 30.0], *patience, resume=True)
    resumed.train()
    assert [last for _, last, _ in resumed.calls] == [False, True], "no iteration"
    lines = Path(resumed.cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()
    values = [json.loads(line) for line in lines if "validation/panoptic_seg/PQ" in line]
    assert values[-1]["iteration"] == 2, "not that of the start"


def test_another_metric_has_no_best_value_yet(make_trainer, caplog):
    trainer = make_trainer([30.0, 20.0, 30.0], "SOLVER.MAX_ITER", 2)
    trainer.train()
    with caplog.at_level(logging.WARNING, logger="efficientps_d2"):
        other = make_trainer([], "TEST.BEST_METRIC", "segm/AP", resume=True)
    assert "Until here panoptic_seg/PQ was maximised" in caplog.text
    assert other.validation.best_iteration == -1 and other.validation.validated == 0


def test_no_value_is_worse_than_any(make_trainer):
    trainer = make_trainer([float("nan"), 0.0, float("nan"), 0.0, 0.0])
    trainer.train()
    assert saved(trainer.cfg.OUTPUT_DIR, "model_best.pth")["iteration"] == 1


def test_of_several_test_sets_the_first_counts(toy, tiny_config, tmp_path, register):
    other = register("other", write_dataset(tmp_path / "other", count=1))
    keys = ("SOLVER.MAX_ITER", 1, "SOLVER.STEPS", (), "TEST.EVAL_PERIOD", 1, "TEST.LOSS_IMAGES", 0)
    cfg = with_class_counts(tiny_config(toy, *keys, "DATASETS.TEST", (toy, other)))
    Trainer(cfg).train()
    metric = f"{toy}/panoptic_seg/PQ"
    last = json.loads(Path(cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()[-1])
    assert saved(cfg.OUTPUT_DIR, "model_best.pth")["metric"] == {metric: last[metric]}


def test_an_unknown_metric_is_named(make_trainer):
    trainer = make_trainer([1.0], "TEST.BEST_METRIC", "panoptic/PQ")
    with pytest.raises(InputError, match="'panoptic/PQ'; use one of panoptic_seg/PQ."):
        trainer.train()


def test_without_test_data_nothing_is_evaluated(toy, tiny_config):
    options = ("SOLVER.MAX_ITER", 2, "SOLVER.STEPS", (), "TEST.EVAL_PERIOD", 1)
    cfg = with_class_counts(tiny_config(toy, *options, "DATASETS.TEST", ()))
    Trainer(cfg).train()
    files = {file.name for file in Path(cfg.OUTPUT_DIR).iterdir()}
    assert {"model_final.pth", "model"} <= files and "model_best.pth" not in files


def test_a_run_writes_the_curve_of_its_validation(toy, tiny_config):
    cfg = with_class_counts(
        tiny_config(
            toy,
            *("SOLVER.MAX_ITER", 2, "SOLVER.STEPS", (), "TEST.EVAL_PERIOD", 1),
            # Detectron2 asks at the end whether there are results, and whether they are these.
            *("TEST.EXPECTED_RESULTS", [["panoptic_seg", "PQ", 50.0, 50.0]]),
        )
    )
    trainer = Trainer(cfg)
    trainer.train()
    lines = Path(cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()
    validated = [line for line in map(json.loads, lines) if "validation/total_loss" in line]
    assert [line["iteration"] for line in validated] == [0, 2]
    assert {"panoptic_seg/PQ", "validation/loss_mask"} <= set(validated[0])
    assert "panoptic_seg/PQ" in json.loads(lines[-1]), "of the end"


def test_precise_statistics_do_not_go_with_an_average(make_trainer):
    with pytest.raises(InputError, match="set it False, or SOLVER.EMA_DECAY 0."):
        make_trainer([], "TEST.PRECISE_BN.ENABLED", True, "SOLVER.EMA_DECAY", 0.9)
