"""A saved model predicts anywhere, what the model itself predicts, from any kind of image."""

import shutil
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from predictions import same

from efficientps_d2 import InputError, Predictor, load_predictor
from efficientps_d2.checkpoint.saved_model import FILES, read_saved_model, save_model
from efficientps_d2.checkpoint.weights_file import write_weights

IMAGE = np.random.default_rng(0).integers(0, 255, (70, 101, 3)).astype(np.uint8)


@pytest.fixture
def predictor(model_folder):
    return load_predictor(model_folder, device="cpu")


def test_a_folder_is_all_that_is_needed(model_folder, tmp_path, keen_model, monkeypatch):
    assert sorted(file.name for file in model_folder.iterdir()) == sorted(FILES)
    elsewhere = shutil.move(model_folder, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "toy")  # the data
    monkeypatch.chdir(elsewhere)
    prediction = load_predictor(".", device="cpu")(IMAGE)
    rgb = torch.as_tensor(IMAGE[:, :, ::-1].transpose(2, 0, 1).copy())
    with torch.no_grad():
        (expected,) = keen_model([{"image": rgb, "height": 70, "width": 101}])
    pan_seg, segments = expected["panoptic_seg"]
    assert prediction.panoptic_seg.tolist() == pan_seg.tolist()
    assert len(segments) > 1 and len(prediction.instances) > 0
    names = ["road", "sky", "car", "person"]
    for segment, info in zip(prediction.segments, segments, strict=True):
        assert segment.id == info["id"] and segment.name == names[info["category_id"]]
        assert segment.area == (prediction.panoptic_seg == segment.id).sum()
        assert segment.isthing is info["isthing"]
        if segment.isthing:
            assert segment.score == pytest.approx(info["score"])
        else:
            probability = expected["sem_seg"].softmax(dim=0)[segment.category_id]
            mean = probability[pan_seg == segment.id].mean()
            assert segment.score == pytest.approx(float(mean), abs=1e-5)
    assert (prediction.sem_seg == expected["sem_seg"].argmax(dim=0).numpy()).all()
    first = prediction.segments[0]
    assert "101 x 70 pixels: " in repr(prediction) and first.name in repr(prediction)
    assert len(repr(prediction)) < 60 + 20 * len(segments), "no array"


def test_a_model_of_detectron2s_own_heads(stock_config, toy, tmp_path):
    """Its mask head keeps no logits."""
    folder = save_model(
        tmp_path / "stock", build_model(stock_config), stock_config, MetadataCatalog.get(toy)
    )
    prediction = load_predictor(folder, "cpu")(IMAGE, logits=True)
    assert len(prediction.instances) > 0 and prediction.instances.has("pred_masks")
    assert prediction.mask_logits is None and prediction.sem_seg_logits.shape == (4, 70, 101)


def test_arrays_paths_and_batches(predictor, tmp_path):
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), IMAGE)
    bgr = predictor(IMAGE)
    assert same(bgr, predictor(IMAGE[:, :, ::-1], image_format="RGB"))
    assert not same(bgr, predictor(IMAGE, image_format="RGB"))
    assert same(bgr, predictor(file)) and same(bgr, predictor(str(file)))
    small = IMAGE[:64, :96]
    first, second, third = predictor([IMAGE, file, small])
    assert same(first, bgr) and same(second, bgr)
    assert third.panoptic_seg.shape == third.sem_seg.shape == (64, 96)
    assert [same(p, bgr) for p in predictor(np.stack([IMAGE, IMAGE]))] == [True, True]
    assert predictor([]) == []


def test_logits_on_request(predictor):
    plain, full = predictor(IMAGE), predictor(IMAGE, logits=True)
    assert plain.sem_seg_logits is None and plain.mask_logits is None
    assert full.sem_seg_logits.shape == (4, 70, 101)
    assert (full.sem_seg_logits.argmax(dim=0).numpy() == full.sem_seg).all()
    assert full.mask_logits.shape == (len(full.instances), 28, 28)
    assert full.instances.has("pred_masks") and not full.instances.has("pred_mask_logits")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\); give \(H, W, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.float32), "type float32; give uint8"),
        (None, "An image is None; give an array or a path"),
        ([None], "An image is None; give an array or a path"),
        ("nothing.png", "nothing.png cannot be read as an image"),
    ],
)
def test_what_is_no_image_is_named(predictor, picture, message):
    with pytest.raises(InputError, match=message):
        predictor(picture)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 2000, 3), (2000, 3, 3)])
def test_strange_sizes(predictor, shape):
    prediction = predictor(np.full(shape, 90, np.uint8))
    assert prediction.panoptic_seg.shape == shape[:2]


@pytest.mark.parametrize("shape", [(1, 20000, 3), (20000, 2, 3)])
def test_narrow_strips_are_resized_to_something(predictor, shape):
    predictor.resize = T.ResizeShortestEdge([64, 64], 128)
    assert predictor(np.full(shape, 90, np.uint8)).panoptic_seg.shape == shape[:2]


def test_the_resizing_of_the_config_counts(model_folder):
    cfg, metadata = read_saved_model(model_folder, ["INPUT.MIN_SIZE_TEST", "128"])
    small = Predictor(cfg, metadata, "cpu")
    assert small._input(IMAGE)["image"].shape == (3, 128, 185)
    cfg.INPUT.FORMAT = "BGR"
    turned = Predictor(cfg, metadata, "cpu")._input(IMAGE)["image"].flip(0)
    assert (turned == small._input(IMAGE)["image"]).all()


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_devices_that_there_are_not(model_folder, device):
    with pytest.raises(InputError, match=f'The device "{device}" cannot be used'):
        load_predictor(model_folder, device)
    assert load_predictor(model_folder, torch.device("cpu")).cfg.MODEL.DEVICE == "cpu"


def test_no_weights_no_prediction(model_folder):
    cfg, metadata = read_saved_model(model_folder)
    cfg.MODEL.WEIGHTS = ""
    with pytest.raises(InputError, match="MODEL.WEIGHTS is empty"):
        Predictor(cfg, metadata, "cpu")
    write_weights(model_folder / "model.safetensors", {})
    with pytest.raises(InputError, match="is missing in it .* use the config it was trained with"):
        load_predictor(model_folder, "cpu")


def test_the_optimized_form_predicts_the_same_and_is_not_saved(model_folder, tmp_path):
    fast, slow = (load_predictor(model_folder, "cpu", optimize=o) for o in (True, False))
    for image in (IMAGE, IMAGE[:50, :70]):
        found, expected = fast(image, logits=True), slow(image, logits=True)
        assert (found.panoptic_seg == expected.panoptic_seg).mean() > 0.999
        assert (found.sem_seg == expected.sem_seg).mean() > 0.999
        torch.testing.assert_close(
            found.sem_seg_logits, expected.sem_seg_logits, rtol=1e-3, atol=1e-3
        )
        assert len(found.segments) == len(expected.segments) > 0
        for a, b in zip(found.segments, expected.segments, strict=True):
            assert (a.id, a.name, a.isthing) == (b.id, b.name, b.isthing)
            assert a.score == pytest.approx(b.score, abs=1e-3)
            assert abs(a.area - b.area) <= 0.001 * image.size
        assert found.instances.pred_masks.shape == expected.instances.pred_masks.shape
        different = found.instances.pred_masks != expected.instances.pred_masks
        assert different.float().mean() < 1e-3
    with pytest.raises(InputError, match="optimized for inference.*load it with optimize=False"):
        save_model(tmp_path / "again", fast.model, fast.cfg, fast.metadata)


def test_the_precision_is_that_of_autocast_on_cuda(predictor, model_folder, monkeypatch):
    """There alone: on a CPU lower ones are slower, and some convolutions wrong."""
    told = "precision bfloat16 cannot be used on cpu; give float32, or on CUDA one of float16, bf"
    with pytest.raises(InputError, match=told):
        load_predictor(model_folder, "cpu", precision="bfloat16")
    seen = []
    monkeypatch.setattr(
        torch, "autocast", lambda *how, enabled: seen.append((*how, enabled)) or nullcontext()
    )
    predictor(IMAGE)
    predictor.dtype = torch.bfloat16  # as of a predictor on CUDA
    predictor(IMAGE)
    assert seen == [("cuda", torch.float32, False), ("cuda", torch.bfloat16, True)]
