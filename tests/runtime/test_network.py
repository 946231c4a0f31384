"""The runtime predicts with a file as efficientps_d2 does with a saved model."""

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, ROIMasks
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_network import CATEGORIES, write_small_network

import efficientps_d2_runtime
from efficientps_d2_runtime import InputError, checksum, load
from efficientps_d2_runtime.drawing import few_labels
from efficientps_d2_runtime.prediction import Prediction

PACKAGE = Path(efficientps_d2_runtime.__file__).parent
ALLOWED = {"numpy", "PIL", "onnxruntime", PACKAGE.name}


@pytest.fixture
def small(tmp_path):
    return load(write_small_network(tmp_path / "small.onnx"))


@pytest.fixture
def image():
    """RGB, with a red corner of 8 x 12 pixels."""
    image = np.zeros((30, 50, 3), dtype=np.uint8)
    image[:8, :12, 0] = 255
    return image


def test_nothing_but_numpy_pillow_and_onnx_runtime_is_needed():
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in (n.split(".")[0] for n in names):
                assert name in ALLOWED or name in sys.stdlib_module_names, (file.name, name)


def test_what_it_says_of_an_image(small, image):
    prediction = small(image, "RGB")
    expected = np.ones((30, 50), dtype=np.int32)
    expected[:8, :12] = 2
    assert (prediction.panoptic_seg == expected).all()
    road, car = prediction.segments
    assert (road.name, road.isthing, road.area) == ("road", False, 30 * 50 - 96)
    assert (car.id, car.name, car.isthing, car.area) == (2, "car", True, 96)
    assert car.score == prediction.scores[0] == 0.75 and prediction.classes[0] == 1
    assert str(prediction) == "<Prediction, 50 x 30 pixels: road 0.60, car 0.75>"
    assert str(small) == "2 classes (road, car)"
    prediction.segments.append(replace(car, score=0.9))
    assert prediction.summary() == "road 0.60, 2 car 0.75-0.90"


def test_images_of_all_kinds(small, image, tmp_path):
    """Arrays are BGR unless told otherwise, as in ``efficientps_d2.Predictor``."""
    Image.fromarray(image).save(tmp_path / "image.png")
    given = [image[:, :, ::-1], Image.fromarray(image), tmp_path / "image.png"]
    for prediction in small([*given, str(given[2])]):
        assert prediction.segments[1].area == 96
    assert small(image).segments[1].area == 0, "red and blue are exchanged"
    assert small(np.full((1, 1, 3), 255, np.uint8)).panoptic_seg.tolist() == [[2]]


def test_files_are_drawn_as_arrays_are(small, image, tmp_path):
    Image.fromarray(image).save(tmp_path / "image.png")
    prediction = small(image, "RGB")
    drawn = small.draw(tmp_path / "image.png", prediction)
    assert (drawn == small.draw(image, prediction)).all() and drawn.dtype == np.uint8


def test_thresholds_of_the_file_can_be_replaced(small, image):
    for wrong in (7, -0.1, float("nan"), "0.5", [0.5]):
        with pytest.raises(InputError, match="score_threshold is .*; give a number from 0 to 1"):
            small(image, score_threshold=wrong)
    for wrong in (-1, 10.7, 2**63, float("inf")):
        with pytest.raises(InputError, match="stuff_area_limit is .*; give a whole number from 0"):
            small(image, stuff_area_limit=wrong)
    assert small(image, "RGB", score_threshold=0.7).segments[1].area == 96
    assert small(image, "RGB", score_threshold=0.8).segments[1].area == 0


def test_threads_are_counted_from_one(tmp_path):
    """0 stands for one of each core."""
    file = write_small_network(tmp_path / "small.onnx")
    with pytest.raises(InputError, match="threads is -1; give 1 or more, or 0 for one of each"):
        load(file, threads=-1)
    assert load(file, threads=0) and load(file, threads=1)


@pytest.mark.parametrize(
    "given, told",
    [
        (None, "An image is None; give an array, a Pillow image or a path"),
        (np.zeros((4, 4), np.uint8), r"the shape \(4, 4\); give \(H, W, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"the shape \(0, 4, 3\); give"),
        (np.zeros((4, 4, 3), np.float32), "the type float32; give uint8"),
        ("nowhere.png", "nowhere.png cannot be read as an image"),
        (Image.fromarray(np.zeros((4, 4), np.uint16)), "has the mode I;16; give its path instead"),
    ],
)
def test_what_is_no_image_is_named(small, given, told):
    with pytest.raises(InputError, match=told):
        small(given)


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
        ({"resize": "512"}, "does not say how it resizes; write it again"),
        ({"resize": None}, "does not say how it resizes"),
        ({"categories": "[]"}, "does not say what its classes are"),
    ],
)
def test_files_of_others_are_named(tmp_path, metadata, told):
    with pytest.raises(InputError, match=told):
        load(write_small_network(tmp_path / "x.onnx", **metadata))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no.onnx is no file; give one that"):
        load(tmp_path / "no.onnx")


boxes = st.tuples(
    *(st.floats(0, 30, width=32), st.floats(0, 20, width=32)),
    *(st.floats(0.5, 30, width=32), st.floats(0.5, 20, width=32)),
)


@given(st.lists(boxes, max_size=4), st.integers(0, 100))
def test_masks_are_those_of_detectron2(found, seed):
    """But for pixels whose probability is 0.5 up to rounding."""
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in found], np.float32).reshape(-1, 4)
    corners = corners.clip(0, [50, 30, 50, 30]).astype(np.float32)
    logits = np.random.default_rng(seed).normal(size=(len(found), 7, 7)).astype(np.float32) * 4
    pan_seg = np.zeros((30, 50), np.int32)
    prediction = Prediction(pan_seg, [], pan_seg, corners, None, None, logits)
    pasted = ROIMasks(torch.from_numpy(logits).sigmoid())
    expected = pasted.to_bitmasks(Boxes(torch.from_numpy(corners)), 30, 50, 0.5).tensor.numpy()
    assert prediction.masks.shape == (len(found), 30, 50)
    assert (prediction.masks != expected).sum() <= 1


def test_the_drawing(small, image):
    prediction = small(image, "RGB")
    drawn = small.draw(image, prediction)
    assert drawn.shape == (30 * 20, 50 * 20, 3) and drawn.dtype == np.uint8
    assert drawn[200, 800].tolist() == [70, 35, 70], "the colour of roads over black"
    assert (drawn[:160, 239] == (255, 255, 240)).all(), "an edge"
    prediction.panoptic_seg[:] = 0
    hatched = small.draw(image, prediction)
    assert {tuple(c) for c in np.unique(hatched[300:, 300:].reshape(-1, 3), axis=0)} > {
        (36, 36, 36),
        (78, 78, 78),
    }


def test_categories_are_those_of_coco(small):
    assert json.dumps(small.categories) == json.dumps(CATEGORIES)


def test_a_crowd_has_one_label_of_each_class():
    """Labels on all of them would cover the image."""
    names = ["car", "person"] * 20
    labels = [f"{name} {i}%" for i, name in enumerate(names)]
    assert few_labels(names[:30], labels[:30], range(30)) == labels[:30]
    told = few_labels(names, labels, [5, 1, 9, *range(37)])
    assert {i: label for i, label in enumerate(told) if label} == {
        38: "20 x car",
        39: "20 x person",
    }
