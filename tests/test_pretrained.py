"""Where backbone weights come from, and that a missing source is never silent."""

import pytest
import timm
import torch

from efficientps_d2 import InputError
from efficientps_d2.efficientnet import EfficientNet, TimmFeatures, build_efficientnet_backbone
from efficientps_d2.pretrained import load_pretrained_backbone


def test_lite_package_fills_the_whole_backbone():
    """Real ImageNet weights: batch statistics tell them from a fresh network."""
    net = EfficientNet("tf_efficientnet_lite0")
    load_pretrained_backbone(net, "tf_efficientnet_lite0", "lite")
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert not torch.equal(module.running_var, torch.ones_like(module.running_var)), name
    assert 0.1 < net.conv_stem.weight.std() < 1.0


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

    monkeypatch.setattr("efficientps_d2.efficientnet.load_pretrained_backbone", fetch)
    cfg = tiny_config(toy, "MODEL.EFFICIENTNET.WEIGHTS", "timm", "MODEL.WEIGHTS", "model.pth")
    assert build_efficientnet_backbone(cfg, None) is not None
    cfg.MODEL.WEIGHTS = ""
    with pytest.raises(AssertionError, match="fetched"):
        build_efficientnet_backbone(cfg, None)
