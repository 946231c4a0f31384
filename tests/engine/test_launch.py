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
    ],
)
def test_wrong_flags_are_one_sentence(capsys, flags, message):
    assert launch(print, Namespace(**{**vars(ONE), **flags})) == 1
    assert capsys.readouterr().err.startswith(f"Error: {message}")
