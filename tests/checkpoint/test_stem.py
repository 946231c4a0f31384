"""Weights for red, green and blue in networks of other bands."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.backbone import build_resnet_backbone

from efficientps_d2.checkpoint.checkpointer import FittingCheckpointer
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.modeling.backbone.efficientnet import EfficientNet
from efficientps_d2.modeling.backbone.pretrained import load_pretrained_backbone
from efficientps_d2.modeling.backbone.timm_features import TimmFeatures
from efficientps_d2_runtime.errors import InputError

LITE = "tf_efficientnet_lite0"


def features(net, image):
    with torch.no_grad():
        return net.eval()(image)["res2"]


def test_pretrained_weights_see_repeated_bands_as_the_photograph():
    """Six bands that are RGB twice give what RGB gives; eleven bands give something as large."""
    photo = torch.rand(1, 3, 64, 64) * 2 - 1
    nets = {}
    for bands in (3, 6, 11):
        nets[bands] = EfficientNet(LITE, in_channels=bands)
        load_pretrained_backbone(nets[bands], LITE, "lite")
    expected = features(nets[3], photo)
    assert torch.allclose(features(nets[6], photo.repeat(1, 2, 1, 1)), expected, atol=1e-4)
    size = features(nets[11], photo.repeat(1, 4, 1, 1)[:, :11]).std() / expected.std()
    assert 0.7 < size < 1.4


@pytest.fixture
def networks(toy, tiny_config):
    """A network for photographs, and one for four bands."""
    bands = ["MODEL.PIXEL_MEAN", [0.0] * 4, "MODEL.PIXEL_STD", [1.0] * 4]
    photos = build_model(with_class_counts(tiny_config(toy)))
    overrides = [*bands, "INPUT.FORMAT", "BANDS"]
    return photos, build_model(with_class_counts(tiny_config(toy, *overrides)))


def test_finetuning_begins_with_the_weights_for_photographs(networks, tmp_path):
    photos, bands = networks
    FittingCheckpointer(photos, str(tmp_path)).save("photos")
    FittingCheckpointer(bands).load(str(tmp_path / "photos.pth"))
    name = "backbone.bottom_up.conv_stem.weight"
    own, given = (dict(net.named_parameters())[name] for net in (bands, photos))
    assert torch.allclose(own, given[:, [0, 1, 2, 0]] * 0.75)
    strict = FittingCheckpointer(bands)
    strict.strict = True
    with pytest.raises(InputError, match="conv_stem.weight has another shape in it"):
        strict.load(str(tmp_path / "photos.pth"))


def test_a_single_band_gets_the_sum_of_the_three(tmp_path):
    """A grey image then gives what it gives as red, green and blue."""
    nets = [build_resnet_backbone(get_cfg(), ShapeSpec(channels=c)).eval() for c in (3, 1)]
    torch.save({"model": nets[0].state_dict()}, tmp_path / "r50.pth")
    FittingCheckpointer(nets[1]).load(str(tmp_path / "r50.pth"))
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected, found = nets[0].stem(grey.repeat(1, 3, 1, 1)), nets[1].stem(grey)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_resnet_of_detectron2_too(tmp_path):
    nets = [build_resnet_backbone(get_cfg(), ShapeSpec(channels=c)) for c in (3, 5)]
    torch.save({"model": nets[0].state_dict()}, tmp_path / "r50.pth")
    FittingCheckpointer(nets[1]).load(str(tmp_path / "r50.pth"))
    given, own = (net.stem.conv1.weight for net in nets)
    assert torch.allclose(own, given[:, [0, 1, 2, 0, 1]] * 0.6)


def test_networks_of_timm_too(tmp_path):
    nets = [TimmFeatures("resnet10t", in_channels=channels) for channels in (3, 5)]
    torch.save({"model": nets[0].state_dict()}, tmp_path / "resnet10t.pth")
    FittingCheckpointer(nets[1]).load(str(tmp_path / "resnet10t.pth"))
    given, own = (dict(net.named_parameters())["body.conv1.0.weight"] for net in nets)
    assert torch.allclose(own, given[:, [0, 1, 2, 0, 1]] * 0.6)
