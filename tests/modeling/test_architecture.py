"""The wiring of backbone, FPN and heads, written out once more in plain PyTorch.

Parameter counts cannot tell a wrong connection, dilation or slope; these tests can.
"""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, build_model
from detectron2.structures import Boxes, Instances
from torch import nn
from torch.nn import functional as F

from efficientps_d2 import add_efficientps_config
from efficientps_d2.modeling.backbone.efficientnet import EfficientNet
from efficientps_d2.modeling.backbone.two_way_fpn import TwoWayFPN
from efficientps_d2.modeling.fusion import (
    adaptive_panoptic_fusion,
    heuristic_panoptic_fusion,
    log_odds_panoptic_fusion,
)
from efficientps_d2.modeling.instance_heads import SeparableConvMaskHead
from efficientps_d2.modeling.layers import SeparableConv2d, norm_layer
from efficientps_d2.modeling.semantic_heads.efficientps import EfficientPSSemSegHead


class FixedFeatures(Backbone):
    """A backbone that returns the features it was made with."""

    def __init__(self, features):
        super().__init__()
        self.features = features
        self._out_features = list(features)
        self._out_feature_channels = {k: f.shape[1] for k, f in features.items()}
        self._out_feature_strides = {k: 256 // f.shape[-1] for k, f in features.items()}

    def forward(self, x):
        return self.features


def randomise_norms(module):
    """Fresh norms are all alike; give every one a say."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor in (m.weight.data, m.bias.data, m.running_mean):
                tensor.normal_()
            m.running_var.uniform_(0.5, 2)


def norm_leaky(x, norm):
    y = (x - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()
    y = y * norm.weight[:, None, None] + norm.bias[:, None, None]
    return torch.where(y > 0, y, 0.01 * y)


def conv_norm_leaky(x, conv):
    return norm_leaky(F.conv2d(x, conv.weight), conv.norm)


def separable(x, layer, dilation=(1, 1)):
    depthwise, pointwise = layer
    x = F.conv2d(x, depthwise.weight, padding=dilation, dilation=dilation, groups=x.shape[1])
    if depthwise.norm is not None:
        x = norm_leaky(x, depthwise.norm)
    return conv_norm_leaky(x, pointwise)


@pytest.mark.parametrize("inner_norm", [False, True])
def test_separable_convolution(inner_norm):
    layer = SeparableConv2d(6, 8, norm="BN", inner_norm=inner_norm, dilation=(3, 2)).eval()
    randomise_norms(layer)
    x = torch.randn(2, 6, 12, 10)
    torch.testing.assert_close(layer(x), separable(x, layer, (3, 2)))
    assert (layer[0].norm is not None) == inner_norm


def test_linear_separable_convolution():
    layer = SeparableConv2d(6, 8, norm="BN", inner_norm=True, linear=True).eval()
    x = torch.randn(2, 6, 12, 10)
    torch.testing.assert_close(layer(x) + layer(-x), 2 * layer(0 * x))


@pytest.mark.parametrize("is_separable", [True, False])
def test_linear_two_way_fpn(is_separable):
    """Without LeakyReLU it is an affine map; with it, it is none."""
    features = {f"res{i}": torch.randn(1, 3, 128 >> i, 128 >> i) for i in range(2, 6)}

    def outputs(linear: bool, factor: float):
        scaled = FixedFeatures({name: factor * value for name, value in features.items()})
        torch.manual_seed(0)
        fpn = TwoWayFPN(scaled, out_channels=5, separable=is_separable, linear=linear).eval()
        randomise_norms(fpn)
        return fpn(None)["p3"]

    def bend(linear: bool) -> float:
        middle = outputs(linear, 1) + outputs(linear, -1) - 2 * outputs(linear, 0)
        return float(middle.detach().abs().max())

    assert bend(linear=True) < 1e-4 < 0.1 < bend(linear=False)


@pytest.mark.parametrize("is_separable", [True, False])
def test_two_way_fpn(is_separable):
    sides = {"res2": 64, "res3": 32, "res4": 16, "res5": 8}
    features = {k: torch.randn(1, 3 + i, s, s) for i, (k, s) in enumerate(sides.items())}
    fpn = TwoWayFPN(FixedFeatures(features), out_channels=5, separable=is_separable).eval()
    randomise_norms(fpn)
    t = [conv_norm_leaky(f, c) for f, c in zip(features.values(), fpn.top_down_laterals)]  # noqa: B905
    u = [conv_norm_leaky(f, c) for f, c in zip(features.values(), fpn.bottom_up_laterals)]  # noqa: B905
    for i in (2, 1, 0):  # every pixel becomes four
        t[i] = t[i] + t[i + 1].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    for i in (1, 2, 3):  # every other row and column
        u[i] = u[i] + u[i - 1][:, :, ::2, ::2]
    outputs = fpn(None)
    assert list(outputs) == ["p2", "p3", "p4", "p5"]
    for i, output in enumerate(outputs.values()):
        x, conv = t[i] + u[i], fpn.outputs[i]
        if is_separable:
            expected = separable(x, conv)
        else:
            expected = norm_leaky(F.conv2d(x, conv.weight, padding=1), conv.norm)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(256, 32), (64, 32), (48, 16), (16, 8), (1, 1)])
def test_group_norm_of_any_width(channels, groups):
    """Also on the 1 x 1 maps of tiny images, where a group of one channel has no deviation."""
    norm = norm_layer("GN", channels)
    assert norm.num_groups == groups
    if channels > 1:
        assert norm(torch.randn(1, channels, 1, 1)).std() > 0
    assert isinstance(norm_layer("BN", channels), nn.BatchNorm2d) and norm_layer("", 8) is None


def dpc(x, cell):
    b = cell.branches
    x0 = separable(x, b[0], (1, 6))
    x1 = separable(x0, b[1], (1, 1))
    x2 = separable(x0, b[2], (6, 21))
    x3 = separable(x0, b[3], (18, 15))
    x4 = separable(x3, b[4], (6, 3))
    return conv_norm_leaky(torch.cat([x0, x1, x2, x3, x4], dim=1), cell.project)


def upsample(x, factor):
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def test_semantic_head():
    strides = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
    shapes = {k: ShapeSpec(channels=6, stride=s) for k, s in strides.items()}
    head = EfficientPSSemSegHead(shapes, num_classes=5, conv_dims=4).eval()
    randomise_norms(head)
    p2, p3, p4, p5 = features = [torch.randn(1, 6, 128 // s, 192 // s) for s in strides.values()]
    d5, d4 = dpc(p5, head.dpc5), dpc(p4, head.dpc4)
    x = separable(separable(d4 + upsample(d5, 2), head.mc4[0]), head.mc4[1])
    l3 = separable(separable(p3, head.lsfe3[0]), head.lsfe3[1]) + upsample(x, 2)
    x = separable(separable(l3, head.mc3[0]), head.mc3[1])
    l2 = separable(separable(p2, head.lsfe2[0]), head.lsfe2[1]) + upsample(x, 2)
    fused = torch.cat([l2, upsample(l3, 2), upsample(d4, 4), upsample(d5, 8)], dim=1)
    logits = F.conv2d(fused, head.predictor.weight, head.predictor.bias)
    result, losses = head(dict(zip(strides, features, strict=True)))
    torch.testing.assert_close(result, upsample(logits, 4), rtol=1e-4, atol=1e-4)
    assert losses == {} and result.shape == (1, 5, 128, 192)


def test_backbone_taps_are_stage_outputs():
    """Stages 1, 2, 4 as they are, and the 1x1 head convolution with its norm and activation."""
    net = EfficientNet("tf_efficientnet_b0").eval()
    x = torch.randn(1, 3, 64, 64)
    features = net(x)
    x = net.bn1(net.conv_stem(x))
    stages = []
    for stage in net.blocks:
        x = stage(x)
        stages.append(x)
    head = F.conv2d(x, net.conv_head.weight)
    head = norm_leaky(head, net.bn2)
    for name, expected in zip(features, (stages[1], stages[2], stages[4], head), strict=True):
        torch.testing.assert_close(features[name], expected)
    assert (stages[1] < 0).any(), "projections are linear"


def test_mask_head_keeps_the_logits_of_the_predicted_class():
    head = SeparableConvMaskHead(ShapeSpec(channels=4, height=7, width=7), num_classes=3).eval()
    randomise_norms(head)
    x = torch.randn(5, 4, 7, 7)
    instances = [Instances((9, 9), pred_classes=torch.tensor(c)) for c in ([2, 0, 1], [1, 2])]
    first, second = head(x, instances)
    logits = head.layers(x)
    torch.testing.assert_close(first.pred_mask_logits, logits[[0, 1, 2], [2, 0, 1]])
    torch.testing.assert_close(second.pred_mask_logits, logits[[3, 4], [1, 2]])
    torch.testing.assert_close(first.pred_masks[:, 0], first.pred_mask_logits.sigmoid())


def test_fusion_keys_reach_the_fusion(toy, tiny_config):
    combine = "MODEL.PANOPTIC_FPN.COMBINE."
    keys = [
        *(f"{combine}INSTANCES_CONFIDENCE_THRESH", 0.31, f"{combine}OVERLAP_THRESH", 0.42),
        *(f"{combine}STUFF_AREA_LIMIT", 53),
    ]
    of_adaptive = (f"{combine}MASK_LOGIT_SCALE", 4.0, f"{combine}CONFINE_TO_BOX", False)
    thresholds = {"score_threshold": 0.31, "overlap_threshold": 0.42, "stuff_area_limit": 53}
    for method, others, function, options in (
        ("heuristic", (), heuristic_panoptic_fusion, {}),
        ("log_odds", (f"{combine}SEMANTIC_WEIGHT", 0.7), log_odds_panoptic_fusion,
         {"semantic_weight": 0.7}),
        ("adaptive", of_adaptive, adaptive_panoptic_fusion,
         {"mask_logit_scale": 4.0, "confine_to_box": False}),
    ):  # fmt: skip
        model = build_model(tiny_config(toy, *keys, *others, f"{combine}METHOD", method)).eval()
        assert model.fusion.func is function
        assert model.fusion.keywords == {**thresholds, **options}


def test_the_fusion_gets_the_classes_of_things(toy, tiny_config):
    model = build_model(tiny_config(toy)).eval()
    none = Instances((32, 32), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0))
    none.pred_classes = torch.zeros(0, dtype=torch.int64)
    model.fusion = lambda instances, sem_seg, **options: (sem_seg.shape, options)
    outputs = model.postprocess(none, torch.zeros(4, 32, 32), {})
    assert outputs["panoptic_seg"] == ((4, 32, 32), {"thing_class_ids": [2, 3]})


def test_a_saved_config_needs_no_data_set(toy, tiny_config, tmp_path):
    """A trained model predicts on machines that do not have its data."""
    from efficientps_d2.data.classes import with_class_counts

    saved = with_class_counts(tiny_config(toy))
    saved.DATASETS.TRAIN = saved.DATASETS.TEST = ("unknown_here",)
    (tmp_path / "config.yaml").write_text(saved.dump())
    cfg = get_cfg()
    add_efficientps_config(cfg)
    cfg.merge_from_file(str(tmp_path / "config.yaml"))
    model = build_model(cfg).eval()
    assert model.thing_class_ids == [2, 3]
    with torch.no_grad():
        (output,) = model([{"image": torch.zeros(3, 64, 64, dtype=torch.uint8)}])
    assert output["panoptic_seg"][0].shape == (64, 64)
