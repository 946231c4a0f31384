"""The exit status of a launch, and what is said of a process that died."""

import sys
from argparse import Namespace

import pytest
from torch.multiprocessing import ProcessExitedException

from efficientps_d2 import InputError
from efficientps_d2.engine.launch import launch

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
