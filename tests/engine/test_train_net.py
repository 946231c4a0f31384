"""train_net.py as a user runs it: train, stop, resume, evaluate, and make mistakes."""

import json
import os
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.engine import DefaultPredictor
from project import ROOT, run_verb
from scenes import unregister, write_dataset
from served_page import until
from train_mistakes import mistakes
from train_script import CONFIG, TINY, run, start

from efficientps_d2.checkpoint.checkpointer import FittingCheckpointer
from efficientps_d2.config.loading import load_config
from efficientps_d2_runtime.errors import InputError, one_sentence


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    root = tmp_path_factory.mktemp("datasets")
    (root / "toy").mkdir()
    write_dataset(root / "toy" / "train")
    yield root
    unregister("toy_train")


@pytest.fixture(scope="module")
def trained(datasets, tmp_path_factory):
    """A run of four iterations and everything it leaves."""
    output = tmp_path_factory.mktemp("output")
    augmented = ["TEST.AUG.ENABLED", True, "TEST.AUG.SCALES", "(0.5, 1.0)"]
    augmented += ["TEST.EVAL_PERIOD", 2]
    result = run(datasets, output, *TINY, *augmented, "SOLVER.MAX_ITER", 4)
    return output, result


def test_a_run_leaves_checkpoint_table_and_images(trained):
    output, result = trained
    left = set(os.listdir(output))
    assert {"model_final.pth", "config.yaml", "metrics.json", "results.md"} <= left
    assert len(os.listdir(output / "pictures")) == 1
    table = (output / "results.md").read_text()
    assert all(word in table for word in ("PQ", "Things", "Stuff", "mask AP", "mIoU"))
    assert table.strip() in result.stdout
    if not torch.cuda.is_available():
        assert result.stdout.count("CUDA is not available") == 1
    assert "fixed, but it has no trained weights; give MODEL.EFFICIENTNET" in result.stdout
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert {"panoptic_seg/PQ", "panoptic_seg_TTA/PQ"} <= set(lines[-1])


def test_the_start_of_a_run_fits_on_a_screen(trained):
    """Environment, config and network are in log.txt; redirected output has no colour codes."""
    output, result = trained
    assert result.stdout.partition("Training from iteration")[0].count("\n") < 25
    assert "\x1b" not in result.stdout
    log = (output / "log.txt").read_text()
    parts = ("Environment info", "Running with full config", "(backbone)", "EfficientPS with")
    assert all(part in log for part in parts)


def test_what_evaluators_print_is_in_the_log_only(trained):
    output, result = trained
    log = (output / "log.txt").read_text()
    for words in ("Average Precision", "Per-category"):
        assert words in log and words not in result.stdout, words
    assert "Panoptic metrics of each class" in result.stdout


def test_a_run_can_be_reported(trained):
    output, _ = trained
    assert run_verb("report", output, "--processes", 1) == 0
    page = (output / "report.html").read_text()
    assert page.count('class="card"') == 3 and "with augmentation" in page


def test_eval_only_gives_the_same_numbers(trained, datasets):
    """And leaves the config of the training, which its weights need, as it is."""
    output, _ = trained
    table, config = (output / "results.md").read_text(), (output / "config.yaml").read_text()
    (output / "results.md").unlink()
    other = ["MODEL.WEIGHTS", "none.pth", "SOLVER.MAX_ITER", "77"]
    result = run(datasets, output, "--eval-only", "--resume", *TINY, *other)
    assert f"Loading from {output}/model_best.pth" in result.stdout
    assert (output / "results.md").read_text() == table
    assert (output / "config.yaml").read_text() == config
    *_, trained, evaluated = map(json.loads, (output / "metrics.json").read_text().splitlines())
    keys = [key for key in evaluated if "/" in key]
    assert {"panoptic_seg/PC-car", "segm/AP-car", "bbox/AP", "sem_seg/IoU-road"} <= set(keys)
    assert [evaluated[k] for k in keys] == pytest.approx([trained[k] for k in keys], nan_ok=True)


def test_saved_config_predicts_with_detectron2s_predictor(trained):
    """As the README shows; an image of any size, as OpenCV reads it."""
    output, _ = trained
    cfg = load_config(
        str(output / "config.yaml"), ["MODEL.WEIGHTS", str(output / "model_final.pth")]
    )
    outputs = DefaultPredictor(cfg)(np.full((70, 101, 3), 128, np.uint8))
    panoptic_seg, segments_info = outputs["panoptic_seg"]
    assert panoptic_seg.shape == (70, 101) and outputs["sem_seg"].shape == (4, 70, 101)
    assert set(panoptic_seg.unique().tolist()) - {0} == {s["id"] for s in segments_info}
    assert cfg.MODEL.EFFICIENTPS.CLASS_NAMES == ["road", "sky", "car", "person"]


def test_ctrl_c_saves_a_checkpoint_and_resume_goes_on(datasets, tmp_path):
    arguments = [*TINY, "SOLVER.MAX_ITER", 400, "SOLVER.CHECKPOINT_PERIOD", 1000]
    output = tmp_path / "output"
    command = start(datasets, output, *arguments)
    until(lambda: "Ctrl-C stops" in command.text() or command.poll())
    time.sleep(1)  # into an iteration, which is finished
    command.send_signal(signal.SIGINT)  # loader processes get it too, as from a terminal
    assert command.wait(60) == 130, command.text()[-3000:]
    text = command.text()
    assert "Traceback" not in command.output.with_suffix(".err").read_text() + text
    assert "--resume" in text
    checkpoint = output / (output / "last_checkpoint").read_text()
    content = torch.load(checkpoint, weights_only=False)
    stopped = content["iteration"]
    assert f"after iteration {stopped} " in text
    assert content["trainer"]["_trainer"]["optimizer"]["state"]

    last = stopped + 3
    printed = text.split("continue with: ")[1].splitlines()[0]
    variable, python, script, *resume = shlex.split(printed)
    assert variable == f"DETECTRON2_DATASETS={datasets}"
    assert python == "python" and Path(script).name == "train_net.py"
    resume.insert(resume.index("--resume"), "--force")  # for an earlier end
    resume += ["SOLVER.MAX_ITER", last, "TEST.PICTURES", 0]
    resumed = run(datasets, output, *resume)
    assert f"Training from iteration {stopped + 1} to" in resumed.stdout
    final = torch.load(output / "model_final.pth", weights_only=False)
    assert final["iteration"] == last - 1
    assert final["trainer"]["hooks"]["LRScheduler"]["last_epoch"] == last


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("1e12", " became NaN or infinite"),
        # The loss itself: the semantic loss is weighted beyond what floats hold.
        ("0.01", "loss_sem_seg became NaN or infinite in iteration 0; training stopped, no"),
    ],
)
def test_divergence_is_named_and_never_saved(datasets, tmp_path, monkeypatch, rate, message):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    weight = "1.0" if rate == "1e12" else "1e39"
    with pytest.raises(SystemExit) as error:  # with a text the exit status is 1
        run_verb(
            "train", "--config-file", CONFIG, *TINY,
            "SOLVER.MAX_ITER", 50, "SOLVER.CHECKPOINT_PERIOD", 1,
            "SOLVER.BASE_LR", rate, "SOLVER.WARMUP_ITERS", 0, "OUTPUT_DIR", tmp_path,
            "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", weight,
        )  # fmt: skip
    assert str(error.value).startswith("Error: ") and message in str(error.value)
    for checkpoint in tmp_path.glob("*.pth"):
        weights = torch.load(checkpoint, weights_only=False)["model"]
        assert all(v.isfinite().all() for v in weights.values())
    assert not (tmp_path / "model_final.pth").exists()


def test_mistakes_are_one_sentence(trained, datasets, tmp_path, monkeypatch, capsys):
    """One process for all of them: importing torch takes longer than the checks."""
    import train_net

    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    monkeypatch.chdir(tmp_path)  # built-in datasets are registered below datasets/
    config = str(ROOT / "configs" / "efficientps_streets.yaml")
    for name, (arguments, message) in mistakes(trained[0], tmp_path).items():
        if name == "AMP on the CPU" and torch.cuda.is_available():
            continue
        flags = [a for a in arguments if str(a).startswith("--")]
        overrides = [str(a) for a in arguments if a not in flags]
        output = tmp_path / name.replace(" ", "_")
        argv = ["--config-file", config, *flags, *TINY, "OUTPUT_DIR", str(output), *overrides]
        parsed = train_net.default_argument_parser().parse_args(argv)
        with pytest.raises(InputError) as error:
            train_net.main(parsed)
        sentence = one_sentence(error.value)
        assert message in sentence and "\n" not in str(error.value), f"{name}: {error.value}"
        assert not list(output.glob("*.pth")), name


def test_without_validation_the_last_weights_are_evaluated(trained, datasets, monkeypatch):
    """Though the run has the best ones of an earlier validation."""
    import train_net

    def load(self, path, **_):
        raise StopIteration(Path(path).name)

    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    monkeypatch.setattr(FittingCheckpointer, "load", load)
    for period, name in ((2, "model_best.pth"), (0, "model_final.pth")):
        flags = ["--config-file", CONFIG, "--eval-only", "--resume", *TINY]
        argv = train_net.default_argument_parser().parse_args(
            [*flags, "OUTPUT_DIR", str(trained[0]), "TEST.EVAL_PERIOD", str(period)]
        )
        with pytest.raises(StopIteration, match=name):
            train_net.main(argv)


def test_errors_of_loader_processes_are_one_sentence(tmp_path):
    """And the exit status is 1, with nothing saved."""
    (tmp_path / "toy").mkdir()
    folder = write_dataset(tmp_path / "toy" / "train")
    for file in (folder / "panoptic").iterdir():
        file.write_bytes((folder / "panoptic" / "truth_0.png").read_bytes())
    output = tmp_path / "output"
    result = run(tmp_path, output, *TINY, "SOLVER.MAX_ITER", 9, check=False)
    assert result.status == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ") and "disagrees with its JSON" in last
    assert "Traceback" not in result.stderr and not list(output.glob("*.pth"))
