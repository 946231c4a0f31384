"""From the flags of a training to its config, before anything is built."""

import importlib
import logging
from pathlib import Path

import pytest
from project import CONFIGS

from efficientps_d2 import InputError
from efficientps_d2.engine import default_argument_parser

setup = importlib.import_module("efficientps_d2.engine.setup")  # not the function of that name


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def prepare(toy, output, monkeypatch):
    """A function that prepares a training on small data with these flags and keys."""
    monkeypatch.setattr(setup, "start_logs", lambda cfg, args: None)
    monkeypatch.setattr(logging.getLogger("efficientps_d2"), "propagate", True)
    data = ["DATASETS.TRAIN", f"('{toy}',)", "DATASETS.TEST", "()", "OUTPUT_DIR", str(output)]

    def prepare(*flags, config="custom"):
        file = str(CONFIGS / f"efficientps_{config}.yaml")
        words = [word for word in flags if word.startswith("--")]
        keys = flags[len(words) :]
        argv = ["--config-file", file, *words, *data, "MODEL.DEVICE", "cpu", *keys]
        return setup.setup(default_argument_parser().parse_args(argv))

    return prepare


@pytest.mark.parametrize(
    ("key", "value"), [("INPUT.MAX_SIZE_TRAIN", "80"), ("INPUT.MIN_SIZE_TRAIN", "(1400,)")]
)
def test_one_of_two_sizes_can_be_given(prepare, key, value):
    """The other is "auto" and goes with it; its value in Detectron2 does not matter."""
    sizes = prepare(key, value).INPUT
    assert str(sizes[key.removeprefix("INPUT.")]) == value
    assert max(sizes.MIN_SIZE_TRAIN) <= sizes.MAX_SIZE_TRAIN


def test_two_sizes_that_do_not_fit_are_refused_before_data_are_read(prepare, monkeypatch):
    monkeypatch.setattr(setup, "check_dataset_files", None)
    with pytest.raises(InputError, match="MIN_SIZE_TRAIN .900,. must not exceed .* 600"):
        prepare("INPUT.MIN_SIZE_TRAIN", "(900,)", "INPUT.MAX_SIZE_TRAIN", "600")


def test_a_refused_run_leaves_no_folder(prepare, output):
    with pytest.raises(InputError, match="needs RoI heads, which LPSNetStyle lacks"):
        prepare("TEST.AUG.ENABLED", "True", "MODEL.META_ARCHITECTURE", "LPSNetStyle")
    with pytest.raises(InputError, match='no dataset "nobody_val"'):
        prepare("DATASETS.TEST", "('nobody_val',)")
    assert not output.exists()


def test_what_a_killed_training_left_is_removed(prepare, output):
    """By the next one; a folder of such a name is somebody else's."""
    (output / "model_mine.pth.partial").mkdir(parents=True)
    (output / "model_0000007.pth.partial").touch()
    prepare()
    assert {file.name for file in output.iterdir()} == {".lock", "model_mine.pth.partial"}


def test_a_resume_without_the_config_of_its_run_is_checked_and_warns(
    prepare, output, monkeypatch, caplog
):
    monkeypatch.setattr(setup, "has_checkpoint", lambda folder: True)
    with pytest.raises(InputError, match="give rising numbers"):
        prepare("--resume", "SOLVER.STEPS", "(5, 3)", config="cityscapes")
    prepare("--resume", config="streets")
    assert f"{output} has no config.yaml: it is not known whether" in caplog.text


def test_a_training_on_a_cpu_keeps_freed_memory(prepare, monkeypatch):
    calls = []
    monkeypatch.setattr(setup, "keep_freed_memory", lambda: calls.append(1))
    prepare()
    assert calls == [1]
