"""One training at a time in a folder, and a resumed one that is still the same run."""

import logging
import signal
import time

import pytest
from forked_commands import Command
from served_page import until

from efficientps_d2 import InputError, get_config
from efficientps_d2.engine.run_folder import (
    check_resumed_config,
    config_of_run,
    lock_run,
    remove_partial_checkpoints,
)


def hold(arguments: list[str]) -> int:
    """Of another process."""
    lock_run(arguments[0])
    print("held", flush=True)
    time.sleep(60)
    return 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_training_is_refused_until_the_first_has_died(tmp_path, end):
    holder = Command([tmp_path], tmp_path / "holder.txt", tmp_path, main=hold)
    until(lambda: holder.text() == "held\n")
    with pytest.raises(InputError, match=f"that is running, process {holder.pid}; wait"):
        lock_run(str(tmp_path))
    holder.send_signal(end)
    assert holder.wait() == -end
    lock_run(str(tmp_path))
    lock_run(str(tmp_path))  # of the process itself, as in a notebook


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()  # as good as a disk that can only be read, also for root
    with pytest.raises(InputError, match=f"OUTPUT_DIR {tmp_path} cannot be written; give another"):
        lock_run(str(tmp_path))


@pytest.fixture
def run():
    return get_config("efficientps_streets")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.FPN.OUT_CHANNELS", "32"),
        ("DATASETS.TRAIN", "('other_train',)"),
        ("SOLVER.MAX_ITER", "99"),
        ("SEED", "7"),
        ("INPUT.CROP.SIZE", "(64, 64)"),
    ],
)
def test_what_makes_another_run_of_it_needs_force(run, caplog, monkeypatch, key, value):
    monkeypatch.setattr(logging.getLogger("efficientps_d2"), "propagate", True)
    changed = get_config("efficientps_streets", [key, value])
    with pytest.raises(InputError, match=f"other values: {key} .*--force"):
        check_resumed_config(changed, run, force=False)
    with caplog.at_level("INFO", logger="efficientps_d2"):
        check_resumed_config(changed, run, force=True)
    assert f"start of this run: {key}" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATASETS.TEST", "('other_val',)"),
        ("TEST.EVAL_PERIOD", "7"),
        ("MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH", "0.4"),
        ("DATALOADER.NUM_WORKERS", "1"),
        ("MODEL.FPN.NORM", "SyncBN"),
    ],
)
def test_other_changes_are_logged_at_most(run, key, value):
    run.MODEL.FPN.NORM = "BN"
    changed = get_config("efficientps_streets", ["MODEL.FPN.NORM", "BN", key, value])
    check_resumed_config(changed, run, force=False)


def test_what_a_killed_training_left_is_removed_and_named(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("efficientps_d2"), "propagate", True)
    for name in ("model_0000007.pth.partial", "last_checkpoint.partial", "mine.partial"):
        (tmp_path / name).touch()
    remove_partial_checkpoints(str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["mine.partial"]
    assert "model_0000007.pth.partial, which a training that was killed had left" in caplog.text


def test_a_changed_schedule_is_checked():
    run, steps = get_config("panoptic_fpn_streets"), ["SOLVER.STEPS", "(5, 3)"]
    changed = get_config("panoptic_fpn_streets", steps)
    with pytest.raises(InputError, match="SOLVER.STEPS is .5, 3.; give rising numbers"):
        check_resumed_config(changed, run, force=True)
    check_resumed_config(changed, changed.clone(), force=False)  # of an earlier version


def test_the_config_that_a_run_left(run, tmp_path):
    assert config_of_run(str(tmp_path)) is None
    (tmp_path / "config.yaml").write_text(run.dump())
    check_resumed_config(run, config_of_run(str(tmp_path)), force=False)
