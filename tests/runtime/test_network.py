"""The runtime predicts with a file as efficientps_d2 does with a saved model."""

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, ROIMasks
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_network import CATEGORIES, write_small_network

import efficientps_d2_runtime
from efficientps_d2_runtime import InputError, load
from efficientps_d2_runtime.drawing import few_labels
from efficientps_d2_runtime.prediction import Prediction

ROAD = CATEGORIES[0]
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


def test_threads_and_memory_are_given_back(tmp_path, image, monkeypatch):
    file = write_small_network(tmp_path / "small.onnx")
    network = load(file, 3)
    assert network.session.get_session_options().intra_op_num_threads == 3
    run, seen = network.session.run, []
    spy = SimpleNamespace(run=lambda *args: seen.append(args[2]) or run(*args))
    monkeypatch.setattr(network, "session", spy)
    network(image)
    assert seen[0].get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"


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


@pytest.mark.parametrize(
    "output, value",
    [
        ("segment_classes", [0, 9]),
        ("segment_classes", [0, -1]),
        ("segment_areas", [4]),
        ("panoptic_seg", np.full((30, 50), 2**31 - 1)),
        ("panoptic_seg", np.zeros((30, 49), int)),
        ("sem_seg", np.full((30, 50), 7)),
        ("boxes", np.zeros((3, 4), np.float32)),
        ("boxes", np.full((1, 4), np.nan, np.float32)),
        ("boxes", np.zeros((1, 3), np.float32)),
        ("boxes", np.array([[1e30, 0, 2e30, 1]], np.float32)),
        ("boxes", np.array([[5, 5, 4, 9]], np.float32)),
        ("mask_logits", np.zeros(1, np.float32)),
        ("segment_classes", 0),
        ("segment_classes", [0.0, 1.0]),
        ("segment_classes", ["road", "car"]),
        ("segment_scores", [[0.5], [0.5]]),
        ("panoptic_seg", np.ones((30, 50))),
        ("classes", [5]),
    ],
)
def test_what_no_network_says_is_one_sentence(small, image, monkeypatch, output, value):
    """A file of anybody may say it, with a checksum that fits."""
    run = small.session.run

    def changed(names, *args):
        values = dict(zip(names, run(names, *args), strict=True))
        return list({**values, output: np.asarray(value)}.values())

    monkeypatch.setattr(small, "session", SimpleNamespace(run=changed))
    with pytest.raises(InputError, match="small.onnx says what no network can; write it again"):
        small(image)


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
