"""Predictions with test-time augmentation: only where they are asked for, and of the same views."""

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image
from project import run_verb
from test_batch_models import loaded

from efficientps_d2 import InputError, Predictor, load_predictor
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
    network = PanopticTTA.of_config(cfg, keen_model)
    inputs = load_predictor(model_folder, "cpu")._input(IMAGE)
    with torch.no_grad():
        (expected,) = network([inputs])
    assert (augmented == expected["panoptic_seg"][0].numpy()).all()
    tiled = Predictor(cfg, metadata, "cpu", tile=96, augment=True)(IMAGE, "RGB")
    assert (tiled.panoptic_seg == augmented).all()


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
    assert (predicted(*VIEWS) != augmented).any()


def test_workers_of_a_batch_augment_when_they_are_asked_to(model_folder, augmented, tmp_path):
    for name, opts, alike in (("asked", ASKED, True), ("plain", VIEWS, False)):
        (found,) = loaded(pytorch_model(model_folder, overrides=opts), tmp_path / name).predict(
            [IMAGE]
        )
        assert (found.panoptic_seg == augmented).all() == alike


def test_a_network_that_cannot_be_augmented_is_refused(stock_config, toy, tmp_path):
    torch.save({"model": build_model(stock_config).state_dict()}, tmp_path / "model.pth")
    stock_config.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    metadata = MetadataCatalog.get(toy)
    assert Predictor(stock_config, metadata, "cpu")
    with pytest.raises(InputError, match="needs a mask head that keeps its logits"):
        Predictor(stock_config, metadata, "cpu", augment=True)
