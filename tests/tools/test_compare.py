"""Plans of runs: what is trained, what is only scored, what is not run again, and the tables."""

import importlib
import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from project import ROOT

from efficientps_d2.config.loading import load_config

FOLDER = ROOT / "tools" / "benchmarks"
PLAN = """
common: {SOLVER.MAX_ITER: 7}
datasets:
  streets: {}
  mine: {config: custom, DATASETS.TRAIN: "('mine_train',)"}
rows:
  Panoptic FPN: {config: "panoptic_fpn_{}"}
  EfficientPS: {config: "efficientps_{}", SOLVER.BASE_LR: 0.5}
  with the stock merge: {weights_of: EfficientPS, MODEL.PANOPTIC_FPN.COMBINE.METHOD: heuristic}
"""


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("compare")


@pytest.fixture
def trainings(compare, monkeypatch):
    """The commands that would run; each leaves the results of a training with PQ 40, 41, ..."""
    commands = []

    class Training:
        def __init__(self, command, stdout, stderr, env):
            commands.append(SimpleNamespace(words=command, env=env))
            self.folder = Path(command[command.index("OUTPUT_DIR") + 1])
            self.seed = int(command[command.index("SEED") + 1])
            self.config, self.stdout = command[command.index("--config-file") + 1], stdout

        def wait(self) -> int:
            if self.seed == 13:
                self.stdout.write("Error: it went wrong.\n")
                return 1
            metrics = {"panoptic_seg/PQ": 40.0 + self.seed, "panoptic_seg/PQ_th": 3.0}
            if "mask_rcnn" not in self.config:
                metrics["sem_seg/mIoU"] = 50.0
            (self.folder / "inference").mkdir(exist_ok=True)
            file = self.folder / "inference" / "val_metrics.json"
            file.write_text(json.dumps({"results": metrics}))
            (self.folder / "results.md").touch()
            return 0

    monkeypatch.setattr(compare.subprocess, "Popen", Training)
    return commands


def read_plan(*args) -> list:
    return importlib.import_module("plan").read_plan(*args)


def call(compare, tmp_path, *arguments) -> int:
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    return compare.main([str(plan), "--output", str(tmp_path / "out"), *arguments])


def test_a_plan_is_run_once(compare, trainings, tmp_path, capsys):
    assert call(compare, tmp_path, "--seeds", "1", "3", "--jobs", "2") == 0
    words = [" ".join(command.words) for command in trainings]
    assert len(words) == 12
    trained, scored = words[:8], words[8:]
    assert all("--resume" in w and "SOLVER.MAX_ITER 7" in w for w in trained)
    assert sum("configs/efficientps_custom.yaml" in w and "mine_train" in w for w in trained) == 2
    assert sum("configs/panoptic_fpn_streets.yaml" in w for w in trained) == 2
    for command in scored:
        assert "--eval-only" in command and "METHOD heuristic" in command
        assert "SOLVER.BASE_LR 0.5" in command, "the config is that of the weights"
        assert "/efficientps/seed" in command.partition("MODEL.WEIGHTS ")[2]
    table = (tmp_path / "out" / "table.md").read_text()
    assert table.count("| Panoptic FPN ") == 2 and "42.0 (41.0 to 43.0)" in table
    assert table.splitlines()[0] == "streets" and "3.0 (3.0 to 3.0)" in table
    assert capsys.readouterr().out.count("with the stock merge") == 2

    trainings.clear()
    assert call(compare, tmp_path, "--seeds", "1", "2", "3") == 0
    assert all("SEED 2" in " ".join(command.words) for command in trainings)
    assert len(trainings) == 6


def test_a_run_of_another_plan_is_named(compare, trainings, tmp_path):
    call(compare, tmp_path, "--seeds", "1")
    (tmp_path / "plan.yaml").write_text(PLAN.replace("0.5", "0.6"))
    with pytest.raises(SystemExit, match="efficientps/seed1 was made with another SOLVER.BASE_LR"):
        compare.main([str(tmp_path / "plan.yaml"), "--output", str(tmp_path / "out"), "--table"])


def test_a_run_of_a_config_that_has_changed_is_named(compare, trainings, tmp_path, monkeypatch):
    import plan

    call(compare, tmp_path, "--seeds", "1")
    read = plan.read_config

    def changed(file: str) -> dict:
        keys = read(file)
        keys["MODEL"]["EFFICIENTPS"] = {**keys["MODEL"].get("EFFICIENTPS", {}), "LINEAR_FPN": 3}
        return keys

    monkeypatch.setattr(plan, "read_config", changed)
    with pytest.raises(SystemExit, match="made with another MODEL.EFFICIENTPS.LINEAR_FPN"):
        call(compare, tmp_path, "--seeds", "1")


def test_new_weights_are_scored_again(compare, trainings, tmp_path):
    call(compare, tmp_path, "--seeds", "1", "--datasets", "mine")
    weights = tmp_path / "out" / "mine" / "efficientps" / "seed1" / "model_final.pth"
    for time, scored in ((1, 0), (2**32, 1)):
        weights.touch()
        os.utime(weights, (time, time))
        trainings.clear()
        call(compare, tmp_path, "--seeds", "1", "--datasets", "mine")
        assert len(trainings) == scored


def test_networks_without_stuff_have_no_pq(compare, trainings, tmp_path):
    row = '  Mask R-CNN: {config: "mask_rcnn_{}"}\n'
    (tmp_path / "plan.yaml").write_text(PLAN + row)
    out = tmp_path / "out"
    compare.main([str(tmp_path / "plan.yaml"), "--seeds", "1", "--output", str(out)])
    lines = (out / "table.md").read_text().splitlines()
    cells = [c.strip() for c in next(x for x in lines if "Mask R-CNN" in x).split("|")[1:-1]]
    header = [c.strip() for c in lines[2].split("|")[1:-1]]
    assert cells[header.index("PQ")] == "-" and cells[header.index("PQ things")] == "3.0"


def test_a_run_that_did_not_end_is_made_again(compare, trainings, tmp_path):
    call(compare, tmp_path, "--seeds", "1")
    folder = tmp_path / "out" / "mine" / "efficientps" / "seed1"
    (folder / "inference" / "val_metrics.json").unlink()
    trainings.clear()
    call(compare, tmp_path, "--seeds", "1")
    (command,) = trainings
    assert str(folder) in command.words


def test_some_datasets_of_a_plan(compare, trainings, tmp_path):
    assert call(compare, tmp_path, "--seeds", "1", "--datasets", "mine") == 0
    assert len(trainings) == 3 and all("mine_train" in str(c.words) for c in trainings)
    with pytest.raises(SystemExit, match="has no dataset yours; it has streets, mine"):
        call(compare, tmp_path, "--datasets", "yours")


def test_a_plan_like_another(compare, trainings, tmp_path):
    (tmp_path / "rates.yaml").write_text(
        "like: plan.yaml\nrows: {slow: {config: 'efficientps_{}', SOLVER.BASE_LR: 0.1}}"
    )
    (tmp_path / "plan.yaml").write_text(PLAN)
    runs = read_plan(tmp_path / "rates.yaml", [1], tmp_path)
    assert [(run.dataset, run.row) for run in runs] == [("streets", "slow"), ("mine", "slow")]
    assert runs[0].keys == {"SOLVER.MAX_ITER": 7, "SOLVER.BASE_LR": 0.1}


def test_a_value_for_each_dataset(compare, tmp_path):
    plan = PLAN.replace("BASE_LR: 0.5", "BASE_LR: {streets: 0.5, mine: 0.1}")
    (tmp_path / "plan.yaml").write_text(plan)
    runs = read_plan(tmp_path / "plan.yaml", [1], tmp_path)
    runs = [run for run in runs if run.row == "EfficientPS"]
    found = {(run.dataset, run.keys["SOLVER.BASE_LR"]) for run in runs}
    assert found == {("streets", 0.5), ("mine", 0.1)}


def test_cores_are_shared(compare, trainings, tmp_path, monkeypatch):
    monkeypatch.setattr(compare.os, "cpu_count", lambda: 8)
    call(compare, tmp_path, "--seeds", "1", "--jobs", "2")
    assert {command.env["OMP_NUM_THREADS"] for command in trainings} == {"4"}


def test_a_failed_run_is_named_and_the_others_go_on(compare, trainings, tmp_path, capsys):
    assert call(compare, tmp_path, "--seeds", "13", "1") == 1
    output = capsys.readouterr()
    assert "streets/panoptic_fpn/seed13: Error: it went wrong." in output.out + output.err
    assert "41.0 " in output.out and "nan" not in output.out


def test_a_signal_is_passed_on(compare, tmp_path, monkeypatch, capsys):
    signals = []

    class Training:
        def __init__(self, *_, **__):
            self.stopped = threading.Event()

        def wait(self) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            assert self.stopped.wait(10)
            return 130

        def send_signal(self, number):
            signals.append(number)
            self.stopped.set()

    monkeypatch.setattr(compare.subprocess, "Popen", Training)
    assert call(compare, tmp_path, "--seeds", "1", "2", "--jobs", "1") == 130
    assert signals == [signal.SIGINT]
    assert "the same command goes on" in capsys.readouterr().err


def test_the_best_weights_are_scored(compare, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    runs = read_plan(tmp_path / "plan.yaml", [1], tmp_path)
    run = next(run for run in runs if run.weights_of)
    assert run.command()[-1] == str(run.weights_of / "model_final.pth")
    run.weights_of.mkdir(parents=True)
    (run.weights_of / "model_best.pth").touch()
    assert run.command()[-1] == str(run.weights_of / "model_best.pth")


def test_what_is_no_plan_is_one_sentence(compare, tmp_path):
    twice = PLAN + '  "Panoptic, FPN!": {config: "panoptic_fpn_{}"}'
    for content in ("", "rows: {}", "- a list", twice, PLAN + "  x: {config: x, A.B: {other: 1}}"):
        (tmp_path / "plan.yaml").write_text(content)
        with pytest.raises(SystemExit, match="is no plan"):
            compare.main([str(tmp_path / "plan.yaml")])
    with pytest.raises(SystemExit, match="none.yaml is no plan"):
        compare.main([str(tmp_path / "none.yaml")])


def test_a_seed_that_is_given_twice_counts_once(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    once, twice = (read_plan(tmp_path / "plan.yaml", seeds, tmp_path) for seeds in ([1], [1, 1]))
    assert once == twice


@pytest.mark.parametrize("plan", sorted((FOLDER / "plans").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_plans_name_configs_and_keys_that_exist(compare, plan, tmp_path):
    for run in read_plan(plan, [1], tmp_path):
        overrides = [str(text) for pair in run.keys.items() for text in pair]
        load_config(str(ROOT / "configs" / f"{run.config}.yaml"), overrides)
