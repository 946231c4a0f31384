"""Checkpoints of the authors' code: converted, they compute what they computed there."""

import copy
import io
import os
import pickle
from pathlib import Path

import pytest
import torch
from conftest import CONFIGS, load_tool
from detectron2.modeling import build_model
from detectron2.structures import Boxes
from official_network import OfficialNetwork
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import roi_align

from efficientps_d2 import InputError
from efficientps_d2.checkpoint import FittingCheckpointer
from efficientps_d2.config import load_config
from efficientps_d2.official_checkpoint import from_official, official_name, to_official

tool = load_tool("convert_official_checkpoint")

FORMS = {
    "efficientps_cityscapes_official": {
        "separable_fpn": False,
        "inner_norm": True,
        "activate_stage0": True,
    },
    "efficientps_cityscapes": {
        "separable_fpn": True,
        "inner_norm": False,
        "activate_stage0": False,
    },
}
OFFICIAL, PAPER = FORMS
PARAMETERS = {OFFICIAL: 42_988_744, PAPER: 40_891_080}  # with the authors' background rows


class Converted:
    """The authors' network, what it computes, its checkpoint, and the same network here."""

    def __init__(self, form: str, folder: Path):
        self.form = form
        self.network = OfficialNetwork(**FORMS[form])
        # Large enough for the widest dilations on p4 and p5 and for boxes of every level.
        self.image = torch.rand(1, 3, 320, 384, generator=torch.Generator().manual_seed(1)) * 4 - 2
        self.taps = self.network.backbone(self.image)
        self.levels = self.network.neck(self.taps)
        self.sem_seg = self.network.semantic(self.levels)
        self.rpn = [self.network.rpn(level) for level in self.levels]
        self.boxes = torch.tensor(
            [[3.0, 5, 40, 33], [10, 20, 130, 200], [-60, -40, 300, 290], [-100, -100, 400, 420]]
        )
        self.pooled = {size: self.pool(size) for size in (7, 14)}
        self.box = self.network.box(self.pooled[7])
        self.mask = self.network.mask(self.pooled[14])

        state = {f"module.{k}": v for k, v in self.network.state.items()}
        self.checkpoint = folder / "official.pth"
        torch.save({"meta": {"CLASSES": ("car",)}, "state_dict": state}, self.checkpoint)
        self.config = CONFIGS / f"{form}.yaml"
        self.output = folder / "converted.pth"
        self.convert(self.checkpoint, self.output)
        self.model = tool.build_matching_model(str(self.config), self.network.state, False).eval()
        checkpointer = FittingCheckpointer(self.model)
        checkpointer.strict = True
        checkpointer.load(str(self.output))

    def convert(self, *arguments):
        tool.main([str(a) for a in arguments] + ["--config-file", str(self.config)])

    def pool(self, size):
        """RoIAlign from the level of sqrt(area) / 56; the authors' code shifts by half a pixel."""
        pooled = []
        for box in self.boxes:
            side = ((box[2] - box[0]) * (box[3] - box[1])).sqrt()
            i = int(torch.log2(side / 56 + 1e-6).floor().clamp(0, 3))
            rois = torch.cat([torch.zeros(1), box])[None]
            aligned = self.form == PAPER
            pooled.append(roi_align(self.levels[i], rois, size, 0.25 / 2**i, 2, aligned=aligned))
        return torch.cat(pooled)


@pytest.fixture(scope="module", params=list(FORMS))
def converted(request, tmp_path_factory):
    with torch.no_grad():
        yield Converted(request.param, tmp_path_factory.mktemp(request.param))


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
    converted.convert(tmp_path / "back.pth", tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)["model"]
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


class Malicious:
    def __reduce__(self):
        return os.system, ("touch was_run",)


def drop(state, name):
    return {k: v for k, v in state.items() if k != name}


def broken_checkpoints(state: dict) -> dict[str, tuple[object, str]]:
    mean = "neck.lateral_convs_top.2.bn.running_mean"
    other = {"backbone.layer1.0.conv1.weight": torch.zeros(4), "neck.a": torch.zeros(4)}
    return {
        "missing": ({"state_dict": drop(state, mean)}, mean),
        "unexpected": ({"state_dict": {**state, "neck.extra": torch.zeros(1)}}, "neck.extra"),
        "shape": (
            {"state_dict": {**state, "bbox_head.fc_reg.bias": torch.zeros(35)}},
            r"bbox_head.fc_reg.bias has the shape \[35\] instead of \[36\]",
        ),
        "other network": ({"meta": {}, "state_dict": other}, "semantic_head.conv_logits.weight"),
        "no tensors": ({"state_dict": {"epoch": 5}}, "holds no state dict of tensors"),
        "a list": ([1, 2], "holds no state dict of tensors"),
        "classes": (
            {"state_dict": {**state, "bbox_head.fc_cls.weight": torch.zeros(1, 1024)}},
            "has 19 rows and bbox_head.fc_cls.weight 1, which is no number",
        ),
        "a number": (
            {"state_dict": {**state, "semantic_head.conv_logits.weight": torch.tensor(1)}},
            "has 1 rows and",
        ),
        "runs code": ({"state_dict": state, "meta": Malicious()}, "could run code"),
    }


def test_broken_checkpoints_are_one_sentence_and_leave_nothing(converted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content, message in broken_checkpoints(converted.network.state).values():
        torch.save(content, "in.pth")
        with pytest.raises(SystemExit, match=message) as error:
            converted.convert("in.pth", "out.pth")
        assert str(error.value).startswith("Error: ") and "\n" not in str(error.value)
        assert [p.name for p in tmp_path.iterdir()] == ["in.pth"]


def damaged_files(state: dict):
    for legacy in (False, True):
        whole = io.BytesIO()
        torch.save(state, whole, _use_new_zipfile_serialization=not legacy)
        for length in (0, 1, 10, 5_000, 30_000, 100_000, whole.tell() // 2, whole.tell() - 1):
            yield whole.getvalue()[:length]
        flipped = bytearray(whole.getvalue())
        flipped[100:20_000:7] = bytes(len(range(100, 20_000, 7)))
        yield bytes(flipped)
    yield b"."
    yield pickle.dumps(Malicious())
    yield pickle.dumps({"state_dict": Malicious()}, protocol=2)


def test_damaged_files_are_one_sentence_and_run_nothing(converted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = {k: v for k, v in converted.network.state.items() if v.numel() < 50_000}
    for content in damaged_files(state):
        Path("in.pth").write_bytes(content)
        with pytest.raises(SystemExit, match=r"Error: nothing was converted: ") as error:
            converted.convert("in.pth", "out.pth")
        assert "\n" not in str(error.value)
        assert [p.name for p in tmp_path.iterdir()] == ["in.pth"]


def test_output_that_cannot_be_written(converted, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SystemExit, match="folder cannot be written"):
        converted.convert(converted.checkpoint, tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_config_of_another_network(converted, tmp_path):
    """The authors' code has no EfficientNet-Lite, whose activations differ."""
    config = str(CONFIGS / "efficientps_streets.yaml")
    arguments = [str(converted.output), str(tmp_path / "out.pth"), "--reverse"]
    with pytest.raises(SystemExit, match="does not describe the authors' network"):
        tool.main([*arguments, "--config-file", config])


def test_tensor_without_counterpart():
    with pytest.raises(InputError, match="semantic_net.weight has no counterpart"):
        official_name("semantic_net.weight")
