"""Checkpoints of the authors' code: converted, they compute what they computed there."""

import copy

import pytest
import torch
from converted import OFFICIAL, PAPER
from detectron2.modeling import build_model
from detectron2.structures import Boxes
from project import CONFIGS
from safetensors.torch import load_file
from torch.nn.modules.batchnorm import _BatchNorm

from efficientps_d2.checkpoint.official import from_official, to_official
from efficientps_d2.config.loading import load_config

PARAMETERS = {OFFICIAL: 42_988_744, PAPER: 40_891_080}  # with the authors' background rows


def assert_equal(ours, theirs):
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 1e-3, "nothing to compare"
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_the_independent_network_has_the_documented_size(converted):
    form, state = converted.form, converted.network.state
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    parameters = sum(v.numel() for k, v in state.items() if not k.endswith(buffers))
    assert parameters == PARAMETERS[form]
    assert form == PAPER or len(state) == 1064
    assert any((v < 0).any() for k, v in state.items() if k.endswith("bn1.weight"))


def test_every_stage_computes_the_same(converted):
    model = converted.model
    taps = model.backbone.bottom_up(converted.image)
    for ours, theirs in zip(taps.values(), converted.taps, strict=True):
        assert_equal(ours, theirs)
    features = model.backbone(converted.image)
    for name, theirs in zip(("p2", "p3", "p4", "p5"), converted.levels, strict=True):
        assert_equal(features[name], theirs)
    assert_equal(model.sem_seg_head(features)[0], converted.sem_seg)
    for ours, theirs in zip(
        zip(*model.proposal_generator.rpn_head(list(features.values())), strict=True),
        converted.rpn,
        strict=True,
    ):
        assert_equal(ours[0], theirs[0])
        assert_equal(ours[1], theirs[1])

    heads, levels = model.roi_heads, [features[f] for f in ("p2", "p3", "p4", "p5")]
    boxes = [Boxes(converted.boxes)]
    pooled = heads.box_pooler(levels, boxes)
    assert_equal(pooled, converted.pooled[7])
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    assert_equal(logits, converted.box[0].roll(-1, dims=1))  # background last
    assert_equal(deltas, converted.box[1][:, 4:])
    mask_logits = heads.mask_head.layers(heads.mask_pooler(levels, boxes))
    assert_equal(mask_logits, converted.mask[:, 1:])


def test_anchors_are_the_documented_ones(converted):
    """Whole pixels in the authors' code; in the reference right and bottom are inclusive."""
    levels = [torch.zeros(1, 1, 2, 2) for _ in range(4)]
    anchors = converted.model.proposal_generator.anchor_generator(levels)
    expected = torch.tensor([[-21.0, -9, 25, 13], [-14, -14, 18, 18], [-9, -21, 13, 25]])
    if converted.form == OFFICIAL:
        assert torch.equal(anchors[0].tensor[:3], expected)
        assert all(torch.equal(a.tensor, a.tensor.round()) for a in anchors)
    else:
        assert 0.1 < (anchors[0].tensor[:3] - expected).abs().max() < 0.7


@pytest.mark.parametrize(
    "name", ["efficientps_cityscapes_official", "efficientps_kitti_official"], ids=lambda n: n[12:]
)
def test_official_pixels(name, toy):
    """RGB, with mean and deviation of the authors' code."""
    cfg = load_config(str(CONFIGS / f"{name}.yaml"))
    assert cfg.INPUT.FORMAT == "RGB"
    cfg.MODEL.DEVICE, cfg.MODEL.EFFICIENTNET.WEIGHTS = "cpu", ""
    cfg.MODEL.EFFICIENTNET.NAME = "tf_efficientnet_b0"
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (toy,)
    model = build_model(cfg)
    pixel = torch.tensor([200, 100, 50], dtype=torch.uint8)
    images = model.preprocess_image([{"image": pixel[:, None, None].expand(3, 32, 32)}])
    expected = [(200 - 106.433) / 65.496, (100 - 116.617) / 67.6, (50 - 119.559) / 74.123]
    assert images.tensor[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_reverse_is_exact_where_arithmetic_allows(converted, tmp_path):
    converted.convert(converted.output, tmp_path / "back.pth", "--reverse")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    assert set(back) == set(converted.network.state)
    for name, tensor in converted.network.state.items():
        if name.endswith(("fc_reg.weight", "fc_reg.bias")):
            tensor, back[name] = tensor[4:], back[name][4:]
        elif name.startswith("mask_head.conv_logits"):
            tensor, back[name] = tensor[1:], back[name][1:]
        norm = f"{name.removesuffix('weight')}running_mean" in converted.network.state
        if name.endswith(".weight") and norm:
            eps = 1e-3 if name.startswith("backbone") else 1e-5
            rounding = (tensor.abs() + eps) * 2**-23
            assert ((back[name] - tensor.abs()).abs() <= rounding).all(), name
        else:
            assert torch.equal(back[name], tensor), name
    converted.convert(tmp_path / "back.pth", tmp_path / "again.safetensors")
    again = load_file(tmp_path / "again.safetensors")
    first = torch.load(converted.output, weights_only=True)["model"]
    assert all(torch.allclose(again[k], v, rtol=2e-7, atol=0) for k, v in first.items())


def test_reverse_keeps_what_norms_of_any_sign_compute(converted):
    """InPlaceABN has no negative weights, so their signs move into the convolutions before."""
    model = copy.deepcopy(converted.model)
    generator = torch.Generator().manual_seed(3)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.weight *= torch.randint(0, 2, norm.weight.shape, generator=generator) * 2 - 1
    norms[0].weight[:2] = torch.tensor([0.0, 4e-4])  # below eps
    official, changes = to_official(model.state_dict(), model)
    assert any("2 raised to it" in change.how for change in changes)
    assert all((v >= 0).all() for k, v in official.items() if k.endswith("bn.weight"))
    assert official["backbone.bn1.weight"][:2].tolist() == [0, 0]

    norms[0].weight[:2] = 1e-3
    state, _ = from_official(official, model)
    again = copy.deepcopy(model)
    again.load_state_dict(state)
    before, after = model.backbone(converted.image), again.backbone(converted.image)
    assert_equal(after["p2"], before["p2"])
    assert_equal(again.sem_seg_head(after)[0], model.sem_seg_head(before)[0])
    mask_logits = [m.roi_heads.mask_head.layers(converted.pooled[14]) for m in (again, model)]
    assert_equal(*mask_logits)


def test_report_accounts_for_every_tensor(converted, tmp_path, capsys):
    converted.convert(converted.checkpoint, tmp_path / "out.pth")
    text = capsys.readouterr().out
    counts = [int(x) for line in text.splitlines() for x in line.split() if x.isdigit()]
    total = len(converted.network.state)
    assert f"{total} tensors:" in text and sum(counts) >= 2 * total
    assert "19 classes, 8 of them things" in text
    assert "|weight| + 0.001" in text and "|weight| + 1e-05" in text
    assert "background moved to the end" in text and "background dropped" in text
    assert "Dropped besides the tensors: meta." in text
