"""The command efficientps-d2: help without PyTorch, Detectron2's flags, the right environment."""

import argparse
import inspect
import subprocess
import sys

import pytest
from detectron2.engine import default_argument_parser
from project import ROOT

import train_net
from efficientps_d2.data.importers import READERS
from efficientps_d2.deploy.export import SUFFIXES
from efficientps_d2.prediction import painter, predictor
from efficientps_d2_cli import export, import_, options, predict, train
from efficientps_d2_cli.main import VERBS, main

HEAVY = ("torch", "detectron2", "numpy", "efficientps_d2")
HELP = f"""
import sys
from efficientps_d2_cli.main import VERBS, main
for arguments in ([], *([verb] for verb in VERBS)):
    try:
        main([*arguments, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
loaded = sys.modules.keys() & set({HEAVY})
assert not loaded, loaded
"""


def test_no_help_imports_what_takes_seconds():
    run = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(f"usage: efficientps-d2 {verb}" in run.stdout for verb in VERBS)


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["train", "--config", "a.yaml"], "did you mean --config-file?"),
        (["evaluate", "--config-file", "a", "--weights=x"], "come last, as KEY VALUE"),
        (["predict", "a.jpg", "-o", "x"], "come last, as KEY VALUE after --opts"),
        (["predikt", "a.jpg"], "no verb predikt; did you mean predict?"),
        (["prepare", "scanet", "a"], "there is no dataset scanet; did you mean scannet?"),
        (["prepare", "SemanticKITTI", "a"], "did you mean semantic_kitti?"),
        (["prepare", "nuclei", "a"], "invalid choice: 'nuclei' (choose from "),
        (["streets", "--fast"], "unrecognized arguments: --fast\n"),
    ],
)
def test_a_flag_that_a_verb_does_not_know(words, cure, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    text = capsys.readouterr().err
    assert stop.value.code == 2 and text.startswith("usage: efficientps-d2 ")
    assert words[0] in (text.split()[2], "predikt")
    assert cure in text


def flags(parser: argparse.ArgumentParser) -> dict:
    return {
        action.dest: (action.option_strings, action.nargs, action.default, action.type)
        for action in parser._actions
    }


def test_train_has_the_flags_of_detectron2():
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    ours, theirs = flags(parser), flags(default_argument_parser())
    assert ours.pop("num_processes") == flags(train_net.default_argument_parser())["num_processes"]
    assert ours.pop("timeout") == flags(train_net.default_argument_parser())["timeout"]
    assert ours.pop("force") == flags(train_net.default_argument_parser())["force"]
    assert ours.pop("dist_url")[2] == "auto", "a free port, where Detectron2 counts one out"
    del theirs["dist_url"]
    assert ours == theirs


def test_train_does_what_train_net_does():
    """Users copy that script, so both show the steps."""

    def steps(function) -> list[str]:
        lines = inspect.getsource(function).splitlines()
        return lines[next(i for i, line in enumerate(lines) if "cfg = setup" in line) :]

    assert steps(train.main) == steps(train_net.main)


def test_choices_are_those_of_the_package():
    assert tuple(painter.TASKS) == predict.TASKS
    assert predictor.PRECISIONS == options.PRECISIONS
    assert (export.WHOLE, *SUFFIXES) == export.FORMATS
    assert tuple(READERS) == import_.TOOLS


@pytest.mark.parametrize("script", ["demo.py", "train_net.py"])
def test_outside_the_environment_a_script_says_how_to_activate_it(script):
    command = [sys.executable, "-S", script, "--config-file", "x"]  # -S: no installed packages
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1 and "source .venv/bin/activate" in run.stderr


def test_without_a_verb_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "usage: efficientps-d2" in capsys.readouterr().err
