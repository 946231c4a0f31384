"""Backbones: exact sizes, taps, freezing."""

import pytest
import torch
from detectron2.modeling import build_model
from project import CONFIGS

from efficientps_d2 import InputError
from efficientps_d2.config.loading import load_config
from efficientps_d2.modeling.backbone.build import set_norm
from efficientps_d2.modeling.backbone.efficientnet import EfficientNet
from efficientps_d2.modeling.backbone.timm_features import TimmFeatures


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("config", "total"),
    [
        ("efficientps_cityscapes.yaml", 40_886_723),
        ("efficientps_cityscapes_official.yaml", 42_984_387),
    ],
)
def test_published_sizes(config, total):
    cfg = load_config(
        str(CONFIGS / config), ["MODEL.DEVICE", "cpu", "MODEL.EFFICIENTNET.WEIGHTS", ""]
    )
    model = build_model(cfg)
    assert parameters(model) == total
    assert parameters(model.backbone.bottom_up) == 23_148_912
    shapes = model.backbone.bottom_up.output_shape().values()
    assert [(s.channels, s.stride) for s in shapes] == [(40, 4), (64, 8), (176, 16), (2048, 32)]
    activated = [block.bn2.act for block in model.backbone.bottom_up.blocks[0]]
    official = "official" in config
    assert all(isinstance(act, torch.nn.LeakyReLU) == official for act in activated)


@pytest.mark.parametrize(
    ("name", "channels", "activation"),
    [
        ("tf_efficientnet_b0", [24, 40, 112, 1280], torch.nn.LeakyReLU),
        ("tf_efficientnet_lite0", [24, 40, 112, 1280], torch.nn.ReLU6),
    ],
)
def test_efficientnet_taps(name, channels, activation):
    """SAME padding keeps ceil(n / stride) cells; the /32 tap is activated; nothing is unused."""
    net = EfficientNet(name)
    features = net(torch.randn(2, 3, 70, 90))
    assert [tuple(f.shape) for f in features.values()] == [
        (2, c, -(-70 // s), -(-90 // s)) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    assert [s.channels for s in net.output_shape().values()] == channels
    assert isinstance(net.bn2.act, activation)
    assert not any("Squeeze" in type(m).__name__ for m in net.modules())
    sum(f.sum() for f in features.values()).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_any_timm_backbone():
    net = TimmFeatures("resnet18")
    features = net(torch.zeros(1, 3, 64, 64))
    assert list(features) == ["res2", "res3", "res4", "res5"]
    assert [f.shape[-1] for f in features.values()] == [16, 8, 4, 2]
    with pytest.raises(InputError, match="resnet19"):
        TimmFeatures("resnet19")


def test_freezing_keeps_parameters_and_statistics():
    net = EfficientNet("tf_efficientnet_lite0")
    net.freeze(2)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    net(torch.randn(2, 3, 64, 64))
    after = net.state_dict()
    frozen = ("conv_stem.", "bn1.", "blocks.0.", "blocks.1.")
    assert all(torch.equal(after[k], before[k]) for k in before if k.startswith(frozen))
    assert not torch.equal(
        after["blocks.2.0.bn1.running_mean"], before["blocks.2.0.bn1.running_mean"]
    )
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert trained and not any(name.startswith(frozen) for name in trained)


@pytest.mark.parametrize(
    "make",
    [lambda: EfficientNet("tf_efficientnet_lite0"), lambda: TimmFeatures("resnet18")],
    ids=["lite0", "timm's own"],
)
def test_group_norms_see_one_image_only(make):
    """In training, where batch norms mix the images of a batch; activations stay."""
    torch.manual_seed(0)
    usual, net = make(), set_norm(make(), "GN").train()
    assert not any("BatchNorm" in type(m).__name__ for m in net.modules())
    assert [n for n, _ in net.named_parameters()] == [n for n, _ in usual.named_parameters()]
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        alone, both = net(images[:1]), net(images)
    for level in alone:
        torch.testing.assert_close(both[level][:1], alone[level], atol=1e-3, rtol=1e-3)
    activations = [
        sum(isinstance(m, torch.nn.ReLU | torch.nn.ReLU6) for m in n.modules())
        for n in (usual, net)
    ]
    assert activations[0] == activations[1] > 10
