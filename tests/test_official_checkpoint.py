"""Checkpoints of the authors' code: converted, they compute what they computed there."""

import importlib.util
import io
import os
import pickle
from pathlib import Path

import pytest
import torch
from conftest import CONFIGS
from detectron2.structures import Boxes
from official_network import OfficialNetwork
from torchvision.ops import roi_align

from efficientps_d2 import InputError
from efficientps_d2.checkpoint import FittingCheckpointer
from efficientps_d2.official_checkpoint import from_official, official_name, to_official

TOOL = Path(__file__).parent.parent / "tools" / "convert_official_checkpoint.py"
spec = importlib.util.spec_from_file_location("convert_official_checkpoint", TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

FORMS = {
    "official": {"separable_fpn": False, "inner_norm": True},
    "paper": {"separable_fpn": True, "inner_norm": False},
}
# With background rows; efficientps.md derives both from the modules.
PARAMETERS = {"official": 42_988_744, "paper": 40_891_080}


class Converted:
    """The authors' network, what it computes, its checkpoint, and the same network here."""

    def __init__(self, form: str, folder: Path):
        self.network = OfficialNetwork(**FORMS[form])
        self.image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 4 - 2
        self.taps = self.network.backbone(self.image)
        self.levels = self.network.neck(self.taps)
        self.sem_seg = self.network.semantic(self.levels)
        self.rpn = [self.network.rpn(level) for level in self.levels]
        self.boxes = torch.tensor([[3.0, 5, 40, 33], [0, 0, 96, 64], [20, 10, 31, 50]])
        self.pooled = {size: self.pool(size) for size in (7, 14)}
        self.box = self.network.box(self.pooled[7])
        self.mask = self.network.mask(self.pooled[14])

        state = {f"module.{k}": v for k, v in self.network.state.items()}
        self.checkpoint = folder / f"{form}.pth"
        torch.save({"meta": {"CLASSES": ("car",)}, "state_dict": state}, self.checkpoint)
        self.config = folder / f"{form}.yaml"
        self.config.write_text(
            f'_BASE_: "{CONFIGS}/efficientps_cityscapes_official.yaml"\n'
            "MODEL:\n  EFFICIENTPS:\n"
            f"    SEPARABLE_FPN: {FORMS[form]['separable_fpn']}\n"
            f"    INNER_NORM: {FORMS[form]['inner_norm']}\n"
        )
        self.output = folder / f"{form}_converted.pth"
        self.convert(self.checkpoint, self.output)
        self.model = tool.build_matching_model(str(self.config), self.network.state, False).eval()
        checkpointer = FittingCheckpointer(self.model)
        checkpointer.strict = True
        checkpointer.load(str(self.output))

    def convert(self, *arguments):
        tool.main([str(a) for a in arguments] + ["--config-file", str(self.config)])

    def pool(self, size):
        """Legacy RoIAlign from the level of sqrt(area) / 56; all boxes on the first image."""
        pooled = []
        for box in self.boxes:
            side = ((box[2] - box[0]) * (box[3] - box[1])).sqrt()
            i = int(torch.log2(side / 56 + 1e-6).floor().clamp(0, 3))
            rois = torch.cat([torch.zeros(1), box])[None]
            pooled.append(roi_align(self.levels[i], rois, size, 0.25 / 2**i, 2, aligned=False))
        return torch.cat(pooled)


@pytest.fixture(scope="module", params=list(FORMS))
def converted(request, tmp_path_factory):
    with torch.no_grad():
        yield Converted(request.param, tmp_path_factory.mktemp(request.param))


def assert_equal(ours, theirs):
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 1e-3, "nothing to compare"
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_the_independent_network_has_the_documented_size(converted, request):
    form = request.node.callspec.params["converted"]
    state = converted.network.state
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    parameters = sum(v.numel() for k, v in state.items() if not k.endswith(buffers))
    assert parameters == PARAMETERS[form]
    assert form != "official" or len(state) == 1064
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
    boxes = [Boxes(converted.boxes), Boxes(torch.zeros(0, 4))]
    pooled = heads.box_pooler(levels, boxes)
    assert_equal(pooled, converted.pooled[7])
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    assert_equal(logits, converted.box[0].roll(-1, dims=1))  # background last
    assert_equal(deltas, converted.box[1][:, 4:])
    mask_logits = heads.mask_head.layers(heads.mask_pooler(levels, boxes))
    assert_equal(mask_logits, converted.mask[:, 1:])


def test_anchors_are_the_documented_ones(converted):
    """Whole pixels; in the reference their right and bottom pixels are inclusive."""
    levels = [torch.zeros(1, 1, 2, 2) for _ in range(4)]
    anchors = converted.model.proposal_generator.anchor_generator(levels)
    expected = [[-21, -9, 25, 13], [-14, -14, 18, 18], [-9, -21, 13, 25]]
    assert anchors[0].tensor[:3].tolist() == expected


def test_reverse_is_exact_where_arithmetic_allows(converted, tmp_path):
    converted.convert(converted.output, tmp_path / "back.pth", "--reverse")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    assert list(back) and set(back) == set(converted.network.state)
    for name, tensor in converted.network.state.items():
        if name.endswith(("fc_reg.weight", "fc_reg.bias")):
            tensor, back[name] = tensor[4:], back[name][4:]
        elif name.startswith("mask_head.conv_logits"):
            tensor, back[name] = tensor[1:], back[name][1:]
        norm = f"{name.removesuffix('weight')}running_mean" in converted.network.state
        if name.endswith(".weight") and norm:
            assert torch.allclose(back[name], tensor.abs(), rtol=0, atol=2e-7)
        else:
            assert torch.equal(back[name], tensor), name
    converted.convert(tmp_path / "back.pth", tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)["model"]
    first = torch.load(converted.output, weights_only=True)["model"]
    assert all(torch.allclose(again[k], v, rtol=2e-7, atol=0) for k, v in first.items())


def test_negative_norm_weights_of_ours_survive_the_reverse(converted):
    """InPlaceABN has none, so the sign moves into the convolution before it."""
    model = converted.model
    before = model.backbone(converted.image)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    conv, norm = "backbone.bottom_up.conv_stem.weight", "backbone.bottom_up.bn1"
    state[conv][5:9] *= -1
    state[f"{norm}.weight"][5:9] *= -1
    state[f"{norm}.running_mean"][5:9] *= -1
    official, changes = to_official(state, model)
    assert any("negative norm weight" in change.how for change in changes)
    again, _ = from_official(official, model)
    assert torch.equal(again[conv], model.state_dict()[conv])
    model.load_state_dict(again)
    assert_equal(model.backbone(converted.image)["p2"], before["p2"])


def test_report_accounts_for_every_tensor(converted, tmp_path, capsys):
    converted.convert(converted.checkpoint, tmp_path / "out.pth")
    text = capsys.readouterr().out
    counts = [int(x) for line in text.splitlines() for x in line.split() if x.isdigit()]
    total = len(converted.network.state)
    assert f"{total} tensors:" in text and sum(counts) >= 2 * total
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
        "no tensors": ({"state_dict": {"epoch": 5}}, "cannot be read as a PyTorch state dict"),
        "a list": ([1, 2], "cannot be read as a PyTorch state dict"),
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


@pytest.mark.parametrize("length", [0, 10, 100_000])
def test_truncated_checkpoint(converted, tmp_path, length):
    whole = io.BytesIO()
    torch.save(converted.network.state, whole)
    (tmp_path / "in.pth").write_bytes(whole.getvalue()[:length])
    with pytest.raises(SystemExit, match=r"in.pth was not converted"):
        converted.convert(tmp_path / "in.pth", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_pickle_without_tensors(converted, tmp_path):
    (tmp_path / "in.pth").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(SystemExit, match="was not converted"):
        converted.convert(tmp_path / "in.pth", tmp_path / "out.pth")
    assert not (tmp_path / "was_run").exists()


def test_config_of_another_network(converted, tmp_path):
    """The authors' code has no EfficientNet-Lite, whose activations differ."""
    config = str(CONFIGS / "efficientps_streets.yaml")
    arguments = [str(converted.output), str(tmp_path / "out.pth"), "--reverse"]
    with pytest.raises(SystemExit, match="does not describe the authors' network"):
        tool.main([*arguments, "--config-file", config])


def test_tensor_without_counterpart():
    with pytest.raises(InputError, match="semantic_net.weight has no counterpart"):
        official_name("semantic_net.weight")
