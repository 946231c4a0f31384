"""The sizes of networks: the totals are right, also for Detectron2's own Panoptic FPN."""

from pathlib import Path

import detectron2
import pytest
import torch
from project import CONFIGS, Refused, call_verb
from scenes import write_dataset

from efficientps_d2.deploy.size import count
from efficientps_d2.modeling.deformable import DeformConv2d

DETECTRON2_CONFIGS = Path(detectron2.__file__).parent / "model_zoo" / "configs"


def analyze(capsys, config: Path, *arguments: str) -> dict[str, tuple[int, float]]:
    """Parameters and multiply-adds / 1e9 of each part that the tool prints."""
    call_verb("size", "--config-file", config, *arguments)
    *table, last = capsys.readouterr().out.strip().splitlines()
    parts = {}
    for line in table[2:-1]:
        name, parameters, adds = line.rsplit(maxsplit=2)
        parts[name] = int(parameters.replace(",", "")), float(adds)
    assert last == f"total parameters: {parts['total'][0]}"
    for column in (0, 1):
        rows = [values[column] for name, values in parts.items() if name != "total"]
        assert sum(rows) == pytest.approx(parts["total"][column], abs=0.03)
    return parts


def test_parts_add_up_to_the_published_size(capsys):
    config = CONFIGS / "efficientps_cityscapes_official.yaml"
    parts = analyze(capsys, config, "--size", "64", "96")
    assert parts["total"][0] == 42_984_387
    assert parts["backbone"][0] == 23_148_912
    assert parts["RPN"][0] == 593_935


def test_multiply_adds_of_convolutions(capsys):
    """The RPN is a 3x3 and two 1x1 convolutions on maps that halve from a quarter of the image."""
    config = CONFIGS / "efficientps_streets.yaml"
    parts = analyze(capsys, config, "--size", "256", "490", "TEST.DETECTIONS_PER_IMAGE", "3")
    positions = sum((256 // s) * (512 // s) for s in (4, 8, 16, 32))  # padded to 512
    expected = positions * 64 * (9 * 64 + 3 + 12) / 1e9
    assert parts["RPN"][1] == pytest.approx(expected, abs=0.005)
    assert "mask head, 3 boxes" in parts and "box head, 200 boxes" in parts
    parts = analyze(capsys, config, "--size", "64", "64", "TEST.DETECTIONS_PER_IMAGE", "-1")
    assert "mask head, 200 boxes" in parts, "any number"


def test_multiply_adds_of_deformable_convolutions():
    """Those of a plain one, and of the convolution that gives its offsets."""
    _, adds = count(DeformConv2d(4, 6, padding=1), torch.zeros(1, 4, 5, 7))
    assert adds == 5 * 7 * 9 * 4 * (6 + 18)


def test_panoptic_fpn_of_detectron2(capsys):
    config = DETECTRON2_CONFIGS / "COCO-PanopticSegmentation" / "panoptic_fpn_R_50_1x.yaml"
    parts = analyze(capsys, config, "--size", "64", "64")
    assert 45_000_000 < parts["total"][0] < 47_000_000


def test_values_that_are_auto_follow_the_dataset(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_dataset(tmp_path / "sized" / "train")
    config = CONFIGS / "efficientps_custom.yaml"
    assert "backbone" in analyze(
        capsys, config, "--size", "64", "64", "DATASETS.TRAIN", "('sized_train',)"
    )
    with pytest.raises(Refused, match="DATASETS.TRAIN is empty; name the training data"):
        call_verb("size", "--config-file", config)


def test_unknown_config_is_one_sentence():
    with pytest.raises(Refused, match='"nothing.yaml" does not exist'):
        call_verb("size", "--config-file", "nothing.yaml")
