"""Files that are no checkpoints of the authors' code: one sentence, and nothing is written."""

import io
import os
import pickle
from pathlib import Path

import pytest
import torch
from project import CONFIGS, Refused, call_verb

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.official import official_name


class Malicious:
    def __reduce__(self):
        return os.system, ("touch was_run",)


def drop(state, name):
    return {k: v for k, v in state.items() if k != name}


def broken_checkpoints(state: dict) -> dict[str, tuple[object, str]]:
    mean = "neck.lateral_convs_top.2.bn.running_mean"
    other = {"backbone.layer1.0.conv1.weight": torch.zeros(4), "neck.a": torch.zeros(4)}
    return {
        "missing": ({"state_dict": drop(state, mean)}, mean),
        "unexpected": ({"state_dict": {**state, "neck.extra": torch.zeros(1)}}, "neck.extra"),
        "shape": (
            {"state_dict": {**state, "bbox_head.fc_reg.bias": torch.zeros(35)}},
            r"bbox_head.fc_reg.bias has the shape \[35\] instead of \[36\]",
        ),
        "other network": ({"meta": {}, "state_dict": other}, "semantic_head.conv_logits.weight"),
        "no tensors": ({"state_dict": {"epoch": 5}}, "holds no state dict of tensors"),
        "a list": ([1, 2], "holds no state dict of tensors"),
        "classes": (
            {"state_dict": {**state, "bbox_head.fc_cls.weight": torch.zeros(1, 1024)}},
            "has 19 rows and bbox_head.fc_cls.weight 1, which is no number",
        ),
        "a number": (
            {"state_dict": {**state, "semantic_head.conv_logits.weight": torch.tensor(1)}},
            "has 1 rows and",
        ),
        "runs code": ({"state_dict": state, "meta": Malicious()}, "could run code"),
    }


def test_broken_checkpoints_are_one_sentence_and_leave_nothing(converted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content, message in broken_checkpoints(converted.network.state).values():
        torch.save(content, "in.pth")
        with pytest.raises(Refused, match=message) as error:
            converted.convert("in.pth", "out.pth")
        assert str(error.value).startswith("Error: ") and "\n" not in str(error.value)
        assert [p.name for p in tmp_path.iterdir()] == ["in.pth"]


def damaged_files(state: dict):
    for legacy in (False, True):
        whole = io.BytesIO()
        torch.save(state, whole, _use_new_zipfile_serialization=not legacy)
        for length in (0, 1, 10, 5_000, 30_000, 100_000, whole.tell() // 2, whole.tell() - 1):
            yield whole.getvalue()[:length]
        flipped = bytearray(whole.getvalue())
        flipped[100:20_000:7] = bytes(len(range(100, 20_000, 7)))
        yield bytes(flipped)
    yield b"."
    yield pickle.dumps(Malicious())
    yield pickle.dumps({"state_dict": Malicious()}, protocol=2)


def test_damaged_files_are_one_sentence_and_run_nothing(converted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {k: v for k, v in converted.network.state.items() if v.numel() < 50_000}
    for content in damaged_files(state):
        Path("in.pth").write_bytes(content)
        with pytest.raises(Refused, match=r"Error: ") as error:
            converted.convert("in.pth", "out.pth")
        assert "\n" not in str(error.value)
        assert [p.name for p in tmp_path.iterdir()] == ["in.pth"]


def test_output_that_cannot_be_written(converted, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match="folder is a folder"):
        converted.convert(converted.checkpoint, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_config_of_another_network(converted, tmp_path):
    """The authors' code has no EfficientNet-Lite, whose activations differ."""
    config = str(CONFIGS / "efficientps_streets.yaml")
    arguments = [str(converted.output), str(tmp_path / "out.pth"), "--reverse"]
    with pytest.raises(Refused, match="does not describe the authors' network"):
        call_verb("convert", *arguments, "--config-file", config)


def test_tensor_without_counterpart():
    with pytest.raises(InputError, match="semantic_net.weight has no counterpart"):
        official_name("semantic_net.weight")
