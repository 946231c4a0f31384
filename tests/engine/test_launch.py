"""The exit status of a launch, and what is said of a process that died."""

import os
import sys
import time
from argparse import Namespace
from datetime import timedelta
from unittest.mock import patch

import pytest
import torch
from processes import in_two_processes
from torch.multiprocessing import ProcessExitedException

from efficientps_d2 import InputError
from efficientps_d2.engine.launch import _join_torchrun, _main_that_waits, launch
from efficientps_d2.engine.run_folder import require_same_checkpoint

ONE = Namespace(num_gpus=0, num_machines=1, machine_rank=0, dist_url="auto")


def launched(monkeypatch, error) -> int:
    def fail(*_, **__):
        raise error

    # The package has the function under the name of its module.
    module = sys.modules["efficientps_d2.engine.launch"]
    monkeypatch.setattr(module, "detectron2_launch", fail)
    return launch(print, ONE)


def test_a_killed_process_is_named(monkeypatch, capsys):
    error = ProcessExitedException("", 0, 1, -9, signal_name="SIGKILL")
    assert launched(monkeypatch, error) == 1
    assert "was killed (SIGKILL), probably for lack of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ProcessExitedException("", 0, 1, 130), 130, ""),  # it has said why
        (InputError("no data."), 1, "Error: no data."),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_status(monkeypatch, capsys, error, status, message):
    assert launched(monkeypatch, error) == status
    assert capsys.readouterr().err.strip() == message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_gpus": -1}, "--num-gpus is -1; give a whole number from 0."),
        ({"num_processes": -2}, "--num-processes is -2; give a whole number from 0."),
        ({"num_machines": 0}, "--num-machines is 0; give a whole number from 1."),
        ({"machine_rank": 5}, "--machine-rank is 5; of 1 machines it is from 0 to 0."),
        ({"dist_url": "nonsense"}, "--dist-url is 'nonsense'; give tcp://ADDRESS:PORT."),
        ({"dist_url": "tcp://nonsense"}, "--dist-url is 'tcp://nonsense'; give tcp://"),
        ({"dist_url": "tcp://host:99999999"}, "--dist-url is 'tcp://host:99999999'; give"),
        ({"dist_url": "env://"}, "--dist-url is 'env://'; give tcp://ADDRESS:PORT."),
        ({"num_machines": 2}, "--num-machines needs --dist-url"),
        ({"timeout": 0}, "--timeout is 0; give a whole number from 1."),
    ],
)
def test_wrong_flags_are_one_sentence(capsys, flags, message):
    assert launch(print, Namespace(**{**vars(ONE), **flags})) == 1
    assert capsys.readouterr().err.startswith(f"Error: {message}")


def wait_for_the_other(rank: int) -> str:
    """What is said where the other process does nothing."""
    group = torch.distributed.new_group(timeout=timedelta(seconds=1))
    if rank == 1:
        time.sleep(4)
        return ""
    try:
        _main_that_waits(lambda args: torch.distributed.barrier(group), Namespace(timeout=1))
    except InputError as error:
        return str(error)
    return "no error"


def test_a_process_that_does_not_answer_is_one_sentence(tmp_path):
    said, _ = in_two_processes(wait_for_the_other, tmp_path)
    assert said.startswith("Another process has not answered for 1 seconds; look into the logs")


def resume_after(rank: int, restarts: list[int], eval_only: bool) -> bool:
    """Whether a process goes on, whose agent has restarted it as often as is given."""
    environment = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    environment["TORCHELASTIC_RESTART_COUNT"] = str(restarts[rank])
    args = Namespace(resume=False, eval_only=eval_only, timeout=60)
    with (
        patch.dict(os.environ, environment),
        patch("torch.distributed.init_process_group"),  # this test has made it
        patch("threading.Thread"),
    ):
        _join_torchrun(args)
    return args.resume


@pytest.mark.parametrize(
    ("restarts", "eval_only", "resumes"),
    [([0, 0], False, False), ([1, 0], False, True), ([0, 2], False, True), ([1, 1], True, False)],
)
def test_all_processes_go_on_if_an_agent_has_restarted_one(tmp_path, restarts, eval_only, resumes):
    assert in_two_processes(resume_after, tmp_path, restarts, eval_only) == [resumes] * 2


def different_checkpoints(rank: int, folders: list[str]) -> str:
    try:
        require_same_checkpoint(folders[rank])
    except InputError as error:
        return str(error)
    return ""


def test_machines_must_see_the_same_checkpoint(tmp_path):
    for name, last in (("a", "model_0000009.pth"), ("b", "")):
        (tmp_path / name).mkdir()
        if last:
            (tmp_path / name / "last_checkpoint").write_text(last)
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    said, _ = in_two_processes(different_checkpoints, tmp_path, folders)
    assert "process 1 sees no checkpoint, process 0 model_0000009.pth; give a folder that" in said
    (tmp_path / "rendezvous").unlink(missing_ok=True)
    assert in_two_processes(different_checkpoints, tmp_path, [folders[0]] * 2) == ["", ""]
