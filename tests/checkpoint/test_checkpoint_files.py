"""Checkpoints are whole or absent, and a resume finds the newest whole one."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.checkpoint_files import newest_checkpoint, set_aside
from efficientps_d2.checkpoint.checkpointer import FittingCheckpointer
from efficientps_d2.checkpoint.weights_file import is_whole, read_weights, write_weights


@pytest.fixture
def run(tmp_path) -> FittingCheckpointer:
    """Of a run with three checkpoints, on a machine whose clock was set back before each."""
    checkpointer = FittingCheckpointer(nn.Linear(9, 9), str(tmp_path))
    for iteration in (1, 3, 5):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
        os.utime(tmp_path / f"model_{iteration:07d}.pth", (9 - iteration, 9 - iteration))
    return checkpointer


def newest(run: FittingCheckpointer) -> str:
    return Path(run.get_checkpoint_file()).name


def test_the_newest_is_the_one_that_is_named(run):
    assert newest(run) == "model_0000005.pth"
    Path(run.save_dir, "last_checkpoint").write_text("model_0000001.pth")
    assert newest(run) == "model_0000001.pth"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a" * 300,
        b"model_00000",
        b"\0\0\0",
        b"\xff\xfe",
        b"../other.pth",
        b"/etc/passwd",
        None,
    ],
)
def test_a_damaged_name_does_not_matter(run, caplog, content):
    Path(run.save_dir).parent.joinpath("x.pth").touch()
    tag = Path(run.save_dir, "last_checkpoint")
    tag.write_bytes(content) if content is not None else tag.unlink()
    assert run.has_checkpoint() and newest(run) == "model_0000005.pth"
    assert "last_checkpoint" in caplog.text and "going on from" in caplog.text


def test_damaged_checkpoints_are_passed_over(run, caplog):
    folder = Path(run.save_dir)
    content = (folder / "model_0000005.pth").read_bytes()
    (folder / "model_0000005.pth").write_bytes(content[:-900])
    assert newest(run) == "model_0000003.pth" and "model_0000005.pth is damaged" in caplog.text
    (folder / "model_0000003.pth").write_bytes(b"")
    assert newest(run) == "model_0000001.pth"
    (folder / "model_0000001.pth").unlink()
    with pytest.raises(InputError, match="0000003.pth is damaged.* leave --resume out"):
        newest(run)


@pytest.mark.parametrize(("iteration", "chosen"), [(4, "model_0000005"), (6, "model_final")])
def test_a_final_checkpoint_is_as_new_as_its_iteration(run, iteration, chosen):
    run.save("model_final", iteration=iteration)  # 4: before the schedule was made longer
    Path(run.save_dir, "last_checkpoint").unlink()
    assert newest(run) == f"{chosen}.pth"


def test_a_pipe_is_no_checkpoint(run):
    os.mkfifo(Path(run.save_dir, "model_0000007.pth"))
    assert newest(run) == "model_0000005.pth"


def test_an_entry_under_the_name_of_another_is_damage(run):
    file = Path(run.save_dir, "model_0000005.pth")
    content = file.read_bytes()
    place = content.rindex(b"/data/0")  # in the directory at the end
    file.write_bytes(content[:place] + b"/data/1" + content[place + 7 :])
    assert newest(run) == "model_0000003.pth"


def test_a_folder_without_checkpoints(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    assert not FittingCheckpointer(nn.Linear(1, 1), str(tmp_path)).has_checkpoint()


@pytest.fixture(scope="module")
def weights_files(tmp_path_factory):
    """One tensor, as PyTorch saves it and in a saved model."""
    folder, weights = tmp_path_factory.mktemp("flipped"), torch.arange(500.0)
    torch.save({"model": {"weights": weights}}, folder / "a.pth")
    write_weights(folder / "a.safetensors", {"weights": weights})
    return weights, {file.suffix: file for file in folder.iterdir()}


def is_refused_or_harmless(weights: torch.Tensor, file: Path, place: int, bit: int) -> bool:
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    flipped = file.with_stem("b")
    flipped.write_bytes(content)
    try:
        return torch.equal(read_weights(flipped)["model"]["weights"], weights)
    except InputError:
        return True
    except KeyError:  # which the model says is missing
        return file.suffix == ".safetensors"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_is_loaded(weights_files, suffix, place, bit):
    weights, file = weights_files[0], weights_files[1][suffix]
    assert is_refused_or_harmless(weights, file, int(place * file.stat().st_size), bit)


def test_no_flipped_bit_of_the_directory_is_loaded(weights_files):
    """It is short and has many meanings: encryption, several disks, other compressions."""
    weights, file = weights_files[0], weights_files[1][".pth"]
    content = file.read_bytes()
    for place in range(content.rindex(b"PK\1\2"), len(content)):
        assert all(is_refused_or_harmless(weights, file, place, bit) for bit in range(8)), place


def test_no_flipped_bit_of_the_header_is_loaded(weights_files):
    """Types, shapes and places of the tensors, and the checksum itself."""
    weights, file = weights_files[0], weights_files[1][".safetensors"]
    end = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    for place in range(end):
        assert all(is_refused_or_harmless(weights, file, place, bit) for bit in range(8)), place


def test_a_save_that_fails_leaves_the_former_file(run, monkeypatch):
    """On a full disk, PyTorch raises a RuntimeError."""
    before = {file: file.read_bytes() for file in Path(run.save_dir).iterdir()}

    def full(content, file):
        file.write(b"PK half of it")
        raise RuntimeError("PytorchStreamWriter failed writing file data/7")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SystemExit, match="5.pth could not be saved .the disk is full.*--resume"):
        run.save("model_0000005", iteration=5)
    with pytest.raises(SystemExit):
        run.save("model_0000007", iteration=7)
    assert {file: file.read_bytes() for file in Path(run.save_dir).iterdir()} == before
    assert all(is_whole(file) for file in before if file.suffix == ".pth")


def test_an_earlier_run_is_set_aside(run):
    folder = Path(run.save_dir)
    (folder / "model_best.pth").touch()
    (folder / "notes.txt").touch()
    set_aside(folder, "model_best.pth")
    assert not run.has_checkpoint()
    assert sorted(file.name for file in folder.iterdir()) == ["earlier_run", "notes.txt"]
    assert len(list((folder / "earlier_run").iterdir())) == 5
    set_aside(folder)
    assert len(list((folder / "earlier_run").iterdir())) == 5, "nothing new, nothing lost"
