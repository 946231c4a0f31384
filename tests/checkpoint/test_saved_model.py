"""A saved model is read whole, or not at all."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from predictions import same

from efficientps_d2 import InputError, load_predictor
from efficientps_d2.checkpoint.model_card import CARD
from efficientps_d2.checkpoint.saved_model import FILES, read_saved_model, save_model
from efficientps_d2.checkpoint.weights_file import read_weights, write_weights
from efficientps_d2.utils.shipped import shipped_folder

IMAGE = np.random.default_rng(0).integers(0, 255, (70, 101, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_part_is_named(model_folder, name):
    (model_folder / name).unlink()
    with pytest.raises(InputError, match=f"has no {name}; give the folder of a saved model"):
        load_predictor(model_folder)


def test_parts_that_do_not_fit_together(model_folder):
    file = model_folder / "metadata.json"
    content = json.loads(file.read_text())
    content["categories"].pop()
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="list different classes"):
        read_saved_model(model_folder)
    (model_folder / "model.safetensors").write_bytes(b"PK")
    file.write_text("{")
    with pytest.raises(InputError, match="metadata.json is not valid JSON"):
        load_predictor(model_folder)


def test_truncated_weights_are_one_sentence(model_folder):
    data = (model_folder / "model.safetensors").read_bytes()
    (model_folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="model.safetensors is damaged.*; get it again"):
        load_predictor(model_folder, device="cpu")


def test_a_model_of_an_earlier_version_is_read(model_folder, tmp_path):
    """Its weights are in model.pth, until it is saved again."""
    expected = load_predictor(model_folder, "cpu")(IMAGE)
    new, old = (model_folder / f"model.{suffix}" for suffix in ("safetensors", "pth"))
    torch.save(read_weights(new), old)
    new.unlink()
    predictor = load_predictor(model_folder, "cpu", optimize=False)
    assert str(old) == predictor.cfg.MODEL.WEIGHTS
    assert same(load_predictor(model_folder, "cpu")(IMAGE), expected)
    save_model(model_folder, predictor.model, predictor.cfg, predictor.metadata)
    assert new.exists() and not old.exists()


def test_weights_are_saved_in_half_the_bytes(model_folder, tmp_path):
    """And computed with as before."""
    plain = load_predictor(model_folder, "cpu", optimize=False)
    folder = save_model(tmp_path / "half", plain.model, plain.cfg, plain.metadata, half=True)
    large, small = (f / "model.safetensors" for f in (model_folder, folder))
    assert small.stat().st_size < 0.6 * large.stat().st_size
    model = load_predictor(folder, "cpu", optimize=False).model
    assert all(p.dtype == torch.float32 for p in model.parameters())
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor.half().to(tensor.dtype))


def test_a_model_comes_along(tmp_path, monkeypatch):
    """By its name, in any folder, also in one with images of that name."""
    monkeypatch.chdir(tmp_path)
    Path("nuclei").mkdir()
    predictor = load_predictor("nuclei", "cpu")
    assert predictor.metadata.stuff_classes[:2] == ["nucleus-fluorescence", "nucleus-brightfield"]
    prediction = predictor(paint_nuclei())
    nuclei = [s for s in prediction.segments if s.isthing]
    assert len(nuclei) == 9 and {s.name for s in nuclei} == {"nucleus-fluorescence"}
    assert [s.name for s in prediction.segments if not s.isthing] == ["background-dark"]

    folder = shipped_folder("models") / "nuclei"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
    for word in ("CC0", "seed 1", "MODEL.EFFICIENTNET.WEIGHTS", "What it is not for"):
        assert word in (folder / CARD).read_text()


def test_an_exported_file_is_no_saved_model(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"network")
    with pytest.raises(
        InputError, match="model.onnx is an exported network; run it by efficientps"
    ):
        load_predictor(tmp_path / "model.onnx", "cpu")


def paint_nuclei() -> np.ndarray:
    """(256, 256, 3) BGR: nine bright cells on black."""
    image = np.zeros((256, 256), np.uint8)
    for row in (50, 120, 200):
        for column in (40, 130, 210):
            cv2.ellipse(image, (column, row), (13, 9), 30, 0, 360, 120, -1)
    noise = np.random.default_rng(0).integers(0, 12, image.shape, dtype=np.uint8)
    image = cv2.GaussianBlur(image, (5, 5), 0) + noise
    return np.repeat(image[:, :, None], 3, axis=2)


def test_a_lost_tensor_is_not_random(model_folder):
    weights = read_weights(model_folder / "model.safetensors")["model"]
    weights.pop("sem_seg_head.predictor.bias")
    write_weights(model_folder / "model.safetensors", weights)
    with pytest.raises(InputError, match="sem_seg_head.predictor.bias is missing"):
        load_predictor(model_folder, "cpu")


def test_a_distributed_model_is_saved_as_itself(model_folder, tmp_path):
    """DistributedDataParallel holds it as ``module``."""
    predictor = load_predictor(model_folder, "cpu", optimize=False)
    wrapped = torch.nn.Module()
    wrapped.module = predictor.model
    folder = save_model(tmp_path / "again", wrapped, predictor.cfg, predictor.metadata)
    saved = read_weights(folder / "model.safetensors")["model"]
    assert saved.keys() == predictor.model.state_dict().keys()
    assert same(load_predictor(folder, "cpu", optimize=False)(IMAGE), predictor(IMAGE))
