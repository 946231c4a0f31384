"""Files of weights are written whole, in both formats."""

import resource

import pytest
import torch
from torch import nn

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.checkpointer import FittingCheckpointer
from efficientps_d2.checkpoint.weights_file import write_weights

pytestmark = pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])


def test_they_are_written_and_read(name, tmp_path):
    written, read = nn.Linear(30, 2), nn.Linear(30, 2)
    write_weights(tmp_path / name, written.state_dict())
    FittingCheckpointer(read).load(str(tmp_path / name))
    for key, value in written.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-5])
    with pytest.raises(InputError, match=f"{name} .*(damaged|truncated)"):
        FittingCheckpointer(read).load(str(tmp_path / name))


def test_a_full_disk_leaves_nothing(name, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises((OSError, RuntimeError)):  # what convert makes a sentence of
            write_weights(tmp_path / name, nn.Linear(30, 2).state_dict())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_they_have_the_rights_of_any_new_file(name, tmp_path):
    (tmp_path / "other").touch()
    write_weights(tmp_path / name, nn.Linear(30, 2).state_dict())
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2
