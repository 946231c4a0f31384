"""What tools/cuda says of a machine; the numbers themselves need a GPU."""

import argparse
import json
import sys

import pytest
import torch
from project import ROOT, load_tool

sys.path.insert(0, str(ROOT / "tools" / "cuda"))
run = load_tool("cuda/run")
sys.path.remove(str(ROOT / "tools" / "cuda"))
compare = sys.modules["agreement"]._compare


def output(ids, classes):
    segments = [{"id": number, "category_id": name} for number, name in classes.items()]
    return {"panoptic_seg": (torch.tensor(ids, dtype=torch.int32), segments)}


def test_agreement_is_of_classes_whatever_the_ids():
    expected = [output([[1, 1, 2, 0]], {1: 7, 2: 3})]
    assert compare(expected, [output([[2, 2, 1, 0]], {2: 7, 1: 3})]) == {
        "same class of pixels": 1.0,
        "same number of segments": 1.0,
    }


def test_void_and_other_classes_disagree():
    expected = [output([[1, 1, 2, 0]], {1: 7, 2: 3})]
    other = [output([[1, 0, 2, 2]], {1: 7, 2: 4})]
    assert compare(expected, other)["same class of pixels"] == 0.25
    assert compare(expected, [output([[1, 1, 1, 1]], {1: 7})])["same number of segments"] == 0


def test_a_part_that_fails_does_not_stop_the_others(tmp_path, capsys):
    def broken(args):
        raise RuntimeError("out of luck")

    parts = {"first": broken, "second": lambda args: [{"ms": 12.345}]}
    assert not run.run_parts(parts, argparse.Namespace(device="cpu", output=tmp_path))
    found = json.loads((tmp_path / "cuda.json").read_text())
    assert found["first"] == [{"error": "out of luck"}] and found["second"] == [{"ms": 12.345}]
    assert found["machine"].startswith("CPU, PyTorch ")
    page = (tmp_path / "cuda.md").read_text()
    assert "## second, 0 s" in page and "12.35" in page
    assert run.run_parts(
        {"second": parts["second"]}, argparse.Namespace(device="cpu", output=tmp_path)
    )


def test_a_command_that_fails_is_shown_with_its_last_lines():
    with pytest.raises(run.commands.Failed, match="(?s)SystemExit|no such thing"):
        run.commands.call("-c", "raise SystemExit('no such thing')")
    run.commands.call("-c", "import os; assert os.environ['TEST_DEVICE'] == 'x'", TEST_DEVICE="x")


def test_without_cuda_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA device; --device cpu --short tries"):
        run.main([])


def test_one_gpu_trains_in_no_two_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    args = argparse.Namespace(device="cuda", output=tmp_path)
    assert run.PARTS["processes"](args) == [{"GPUs": 1, "result": "not run: it needs two"}]
