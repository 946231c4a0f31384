"""Predictions with test-time augmentation: only where they are asked for, and of the same views."""

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image
from project import run_verb
from test_batch_models import loaded

from efficientps_d2 import InputError, Predictor, load_predictor, save_model
from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA
from efficientps_d2.prediction.batch_models import pytorch_model

IMAGE = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
VIEWS = ["TEST.AUG.SCALES", "(0.5, 1.0)"]
ASKED = [*VIEWS, "TEST.AUG.ENABLED", "True"]


@pytest.fixture
def augmented(model_folder) -> np.ndarray:
    """The ids of the segments of IMAGE, which are others than without augmentation."""
    found = Predictor(*read_saved_model(model_folder, VIEWS), "cpu", augment=True)(IMAGE, "RGB")
    plain = load_predictor(model_folder, "cpu")(IMAGE, "RGB")
    assert (found.panoptic_seg != plain.panoptic_seg).any() and len(found.segments) > 2
    return found.panoptic_seg


def test_a_predictor_sees_the_views_of_an_evaluation(model_folder, augmented, keen_model):
    cfg, metadata = read_saved_model(model_folder, VIEWS)
    plain = Predictor(cfg, metadata, "cpu", optimize=False, augment=True)
    with torch.no_grad():
        (expected,) = PanopticTTA.of_config(cfg, keen_model)([plain._input(IMAGE)])
    found = plain(IMAGE, "RGB")
    assert (found.panoptic_seg == expected["panoptic_seg"][0].numpy()).all()
    assert (found.panoptic_seg == augmented).mean() > 0.99, "norms are folded there"
    tiled = Predictor(cfg, metadata, "cpu", tile=96, augment=True)(IMAGE, "RGB")
    assert (tiled.panoptic_seg == augmented).all()


def test_masks_are_made_when_they_are_asked_for(model_folder):
    cfg, metadata = read_saved_model(model_folder, VIEWS)
    cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD = "adaptive"
    found = Predictor(cfg, metadata, "cpu", augment=True)(IMAGE, "RGB", logits=True)
    assert not found.detections.has("pred_masks") and found.instances.has("pred_masks")
    count = len(found.instances)
    assert count and len(found.mask_logits) == count
    assert found.sem_seg_logits.shape == (4, 64, 96)


def test_its_network_can_be_saved_unless_it_is_optimised(model_folder, tmp_path, augmented):
    saved = read_saved_model(model_folder, VIEWS)
    with pytest.raises(InputError, match="optimi"):
        save_model(tmp_path / "no", Predictor(*saved, "cpu", augment=True).model, *saved)
    plain = Predictor(*saved, "cpu", optimize=False, augment=True)
    again = load_predictor(save_model(tmp_path / "again", plain.model, *saved), "cpu", augment=True)
    assert (again(IMAGE, "RGB").panoptic_seg == augmented).all()


def test_a_command_augments_when_it_is_asked_to(model_folder, augmented, tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")

    def predicted(*opts) -> np.ndarray:
        out = str(tmp_path / "out")
        arguments = ["--model", str(model_folder), str(tmp_path / "a.png"), "--output", out]
        assert run_verb("predict", *arguments, "--save-json", "--opts", *opts) == 0
        return np.asarray(Image.open(tmp_path / "out" / "panoptic" / "a.png"))[:, :, 0]

    assert (predicted(*ASKED) == augmented).all()
    config = model_folder / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("AUG:\n    ENABLED: false", "AUG:\n    ENABLED: true"))
    assert config.read_text() != text, "as after a training that ends with augmentation"
    assert (predicted("SEED", "1") != augmented).any()


@pytest.mark.parametrize("verb", ["predict", "predict-batch", "export"])
def test_sizes_alone_are_refused(model_folder, tmp_path, verb, capsys):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    arguments = ["--model", str(model_folder), "--output", str(tmp_path / "out")]
    images = ["--format", "onnx"] if verb == "export" else [str(tmp_path / "a.png")]
    assert run_verb(verb, *images, *arguments, "--opts", *VIEWS) == 1
    assert "TEST.AUG.SCALES is of test-time augmentation; add TEST" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_workers_of_a_batch_augment_when_they_are_asked_to(model_folder, augmented, tmp_path):
    for name, opts, alike in (("asked", ASKED, True), ("plain", [], False)):
        (found,) = loaded(pytorch_model(model_folder, overrides=opts), tmp_path / name).predict(
            [IMAGE]
        )
        assert (found.panoptic_seg == augmented).all() == alike


def test_a_network_that_cannot_be_augmented_is_refused(stock_config, toy, tmp_path):
    saved = tmp_path / "model", build_model(stock_config), stock_config, MetadataCatalog.get(toy)
    folder = save_model(*saved)
    assert load_predictor(folder, "cpu")
    for begin in (
        lambda: load_predictor(folder, "cpu", augment=True),
        lambda: pytorch_model(folder, overrides=ASKED),  # before any worker
    ):
        with pytest.raises(InputError, match="needs a mask head that keeps its logits"):
            begin()


def test_scans_are_not_mirrored(toy, tiny_config):
    cfg = tiny_config(toy, "INPUT.RANDOM_FLIP", "none")
    cfg.INPUT.TURN_SCANS = True
    with pytest.raises(InputError, match="TEST.AUG.FLIP would mirror scans"):
        PanopticTTA.require(cfg)
    cfg.TEST.AUG.FLIP = False
    PanopticTTA.require(cfg)
