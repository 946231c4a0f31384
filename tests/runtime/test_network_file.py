"""A file of a network is whole, of this project and says what it must, or is one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_network import CATEGORIES, write_small_network

from efficientps_d2_runtime import InputError, checksum, load, network_file

ROAD = CATEGORIES[0]
WITHOUT_ID = {key: value for key, value in ROAD.items() if key != "id"}


def broken(path: Path, kind: str) -> Path:
    write_small_network(path)
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_text("no network")
    else:
        path.write_bytes(b"")
    return path


@pytest.mark.parametrize("kind", ["cut", "text", "empty"])
def test_a_damaged_file_is_one_sentence(tmp_path, kind):
    with pytest.raises(InputError, match="bad.onnx is incomplete or .*; get it again") as e:
        load(broken(tmp_path / "bad.onnx", kind))
    assert "\n" not in str(e.value)


def test_a_file_that_onnx_runtime_cannot_read_is_one_sentence(tmp_path):
    (tmp_path / "new.onnx").write_bytes(checksum.seal(checksum.MARK + checksum.BLANK))
    with pytest.raises(InputError, match="new.onnx cannot be read by ONNX Runtime .*; write it"):
        load(tmp_path / "new.onnx")


@pytest.mark.parametrize("name", ["car\u00a0red", "\u0645\u06cc\u200c\u062e", "Größe", "車"])
def test_names_of_all_languages(tmp_path, name):
    file = write_small_network(
        tmp_path / "x.onnx", categories=json.dumps([ROAD, {**CATEGORIES[1], "name": name}])
    )
    assert load(file).categories[1]["name"] == name


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, monkeypatch):
    file = write_small_network(tmp_path / "x.onnx")
    monkeypatch.setattr(network_file, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="x.onnx is larger than an ONNX file can be"):
        load(file)
    monkeypatch.undo()

    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InputError, match="x.onnx cannot be used .Permission denied"):
        load(file)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_is_loaded(tmp_path_factory, place, bit):
    whole = write_small_network(tmp_path_factory.getbasetemp() / "whole.onnx")
    content = bytearray(whole.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    whole.write_bytes(content)
    with pytest.raises(InputError, match="whole.onnx is (damaged|incomplete)"):
        load(whole)


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_file_of_anybody_loads_or_is_one_sentence(tmp_path_factory, place, value):
    """With a checksum that fits."""
    file = write_small_network(tmp_path_factory.getbasetemp() / "other.onnx")
    head, tail = file.read_bytes().split(checksum.MARK)
    content = bytearray(head + checksum.MARK + checksum.BLANK + tail[len(checksum.BLANK) :])
    index = int(place * len(content))
    if not len(head) <= index < len(content) - len(tail) + len(checksum.BLANK):
        content[index] = value
    file.write_bytes(checksum.seal(bytes(content)))
    try:
        assert load(file, 1)(np.zeros((2, 3, 3), np.uint8)).panoptic_seg.shape == (2, 3)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "metadata, told",
    [
        ({"format": None}, "is of another program; give a file that efficientps-d2 export"),
        ({"format": "yolo"}, "is of another program"),
        ({"version": "2"}, 'has version "2" of the format, and version 1 is read here; update'),
        ({"version": None}, 'has version "" of the format'),
        ({"categories": None}, "does not say what its classes are; write it again"),
        ({"categories": "[{]"}, "does not say what its classes are"),
        ({"categories": '[{"id": 1, "name": "car"}]'}, "does not say what its classes are"),
        ({"categories": "7"}, "does not say what its classes are"),
        ({"resize": "512"}, 'has no good "resize"; write it again'),
        ({"resize": None}, 'has no good "resize"'),
        ({"resize": "512 0"}, 'has no good "resize"'),
        ({"resize": "-5 -5"}, 'has no good "resize"'),
        ({"resize": f"{'9' * 400} 5"}, 'has no good "resize"'),
        ({"score_threshold": "7"}, 'has no good "score_threshold"'),
        ({"size_divisibility": "0x"}, 'has no good "size_divisibility"'),
        ({"score_threshold": None}, 'has no good "score_threshold"'),
        ({"categories": "[" * 200_000}, "does not say what its classes are"),
        ({"categories": json.dumps([{**ROAD, "name": "\x1b]0;owned"}])}, "what its classes are"),
        ({"categories": json.dumps([{**ROAD, "name": ""}])}, "what its classes are"),
        ({"categories": json.dumps([{**ROAD, "isthing": 77}])}, "what its classes are"),
        (
            {"categories": json.dumps([WITHOUT_ID])},
            "what its classes are",
        ),
        ({"categories": "[]"}, "does not say what its classes are"),
    ],
)
def test_files_of_others_are_named(tmp_path, metadata, told):
    with pytest.raises(InputError, match=told):
        load(write_small_network(tmp_path / "x.onnx", **metadata))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no.onnx is no file; give one that"):
        load(tmp_path / "no.onnx")
