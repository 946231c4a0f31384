"""Exported files: run by their own runtimes they give what the model gives, at any size."""

from pathlib import Path

import onnxruntime
import pytest
import torch
import yaml
from detectron2.modeling import build_model
from project import run_verb
from pyramid import Pyramid

from efficientps_d2 import InputError
from efficientps_d2.deploy.compare import UNPADDED, Difference, check_file, difference_table, runner
from efficientps_d2.deploy.export import SUFFIXES, DensePart, export_model, with_static_padding

DENSE_OUTPUTS = {"sem_seg", "p2", "p3", "p4", "p5"}
DENSE_OUTPUTS |= {f"{kind}_p{k}" for kind in ("objectness_logits", "anchor_deltas") for k in "2345"}
WHOLE_OUTPUTS = {"pred_boxes", "scores", "pred_classes", "pred_mask_logits", "sem_seg"}
SIZES = ((1, 2, 4), (2, 5, 3), (1, 3, 2))  # in units of 32 pixels


@pytest.fixture
def model(toy, tiny_config):
    """Random weights that detect so much that the number of instances differs between images."""
    torch.manual_seed(0)
    keen = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 1000)
    model = build_model(tiny_config(toy, *keen)).eval()
    stages = model.backbone.bottom_up.blocks
    for i, stage in enumerate(stages):
        stages[i] = stage[:1]  # the exporters take their time for each block
    return model


@pytest.mark.parametrize("form", SUFFIXES)
def test_file_gives_what_the_model_gives(model, tmp_path, form):
    if form == "onnx_dense":  # torch_export, which it is made of, has the layers of the network
        model.backbone = model.sem_seg_head = Pyramid(model).eval()
    path = tmp_path / f"model{SUFFIXES[form]}"
    export_model(model, form, path)
    differences = check_file(model, form, path, SIZES)
    assert [d for d in differences if not d.within] == []
    assert all(d.value > 0 for d in differences if d.output != "pred_classes")
    shapes = {(d.output, d.size[-2:]): d.shape for d in differences}
    if form == "torchscript":
        assert {d.output for d in differences} == WHOLE_OUTPUTS
        assert len({d.shape[0] for d in differences if d.output == "scores"}) == 3
        height, width = 64 - UNPADDED, 128 - UNPADDED
        assert shapes["sem_seg", (height, width)] == (4, height, width)
    else:
        assert {d.output for d in differences} == DENSE_OUTPUTS
        assert shapes["sem_seg", (160, 96)] == (2, 4, 160, 96)
        assert shapes["p5", (160, 96)] == (2, 16, 5, 3)
        assert shapes["anchor_deltas_p2", (160, 96)] == (2, 12, 40, 24)
    if form == "torch_export":
        with pytest.raises(Exception, match="(?i)guard|divisible|multiple|shape"):
            runner(form, path)(torch.zeros(1, 3, 50, 64))
    if form == "onnx_dense":
        metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
        assert metadata["size_divisibility"] == "32"

    with torch.no_grad():  # a file of other weights is noticed, and nothing else
        model.sem_seg_head.predictor.bias[1] += 0.01
    wrong = [d for d in check_file(model, form, path, SIZES) if not d.within]
    assert [d.output for d in wrong] == ["sem_seg"] * 3
    assert all(d.largest == pytest.approx(0.01, rel=0.01) for d in wrong)


def test_static_padding_is_tensorflows(model):
    images = torch.rand(1, 3, 96, 64) * 255
    with torch.no_grad():
        expected = DensePart(model)(images)
        found = DensePart(with_static_padding(model))(images)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_other_sizes_are_refused(model):
    with pytest.raises(InputError, match="50 x 64 pixels; pad it to multiples of 32"):
        DensePart(model)(torch.zeros(1, 3, 50, 64))


def test_pixels_are_normalised_inside(model):
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        (_,), sem_seg = model.inference([{"image": images[0]}], do_postprocess=False)
        torch.testing.assert_close(DensePart(model)(images)["sem_seg"], sem_seg)


@pytest.fixture
def run(toy, tiny_config, tmp_path):
    """Config file and checkpoint as a training leaves them."""
    cfg = tiny_config(toy, "MODEL.EFFICIENTPS.THING_CLASS_IDS", (2, 3))
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES = 4, 2
    folder = tmp_path / "moved"  # OUTPUT_DIR of the config is another one
    folder.mkdir()
    (folder / "config.yaml").write_text(cfg.dump())
    torch.save({"model": build_model(cfg).state_dict()}, folder / "model_final.pth")
    return folder


def export(folder, *arguments, form="torchscript", weights="model_final.pth", more=()) -> int:
    weights = ["--opts", "MODEL.WEIGHTS", str(folder / weights), *more] if weights else []
    config = str(folder / "config.yaml")
    return run_verb("export", "--config-file", config, "--format", form, *arguments, *weights)


def test_tool_writes_and_checks(run, capsys, monkeypatch):
    assert export(run) == 0
    assert (run / "model.ts").is_file()
    text = capsys.readouterr().out
    assert (
        "for pixels in RGB" in text
        and "It gives what the network gives." in text
        and text.count("pred_mask_logits") == 1
    )

    difference = Difference((3, 9, 9), "sem_seg", (4, 9, 9), 0.5, 1.0, False)
    small = difference._replace(largest=0.1)
    assert "5.0e-01" in difference_table([small, difference, small])
    monkeypatch.setattr("efficientps_d2.deploy.compare.check_file", lambda *_, **__: [difference])
    monkeypatch.setattr("efficientps_d2.deploy.export.export_model", lambda *_: None)
    before = (run / "model.ts").read_bytes()
    assert export(run) == 1
    assert "torchscript file differs from the model by 5.0e-01 in sem" in capsys.readouterr().err
    assert (run / "model.ts").read_bytes() == before and not list(run.glob("*partial*"))


def test_what_was_not_compared_is_said(run, capsys):
    """A model that finds nothing in the painted streets gives empty outputs, which are equal."""
    assert export(run, more=["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "1.0"]) == 0
    text = capsys.readouterr().out
    assert "pred_boxes, scores, pred_classes, pred_mask_logits were not compared" in text


def test_a_mask_head_without_logits(stock_config, tmp_path):
    model = build_model(stock_config).eval()
    with pytest.raises(InputError, match="mask head keeps no logits.*dense part can"):
        export_model(model, "torchscript", tmp_path / "model.ts")


def test_mistakes_are_one_sentence(run, capsys):
    def sentence(*arguments, **more) -> str:
        assert export(*arguments, **more) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert f"add --opts MODEL.WEIGHTS {run}/model_final.pth" in sentence(run, weights="")
    assert "nothing.pth does not exist" in sentence(run, weights="nothing.pth")
    text = sentence(run, "--output", "model.pb", form="onnx")
    assert 'model.pb" does not end with .onnx, as files of onnx' in text
    assert "no test-time augmentation" in sentence(run, more=("TEST.AUG.ENABLED", "True"))
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["MODEL"]["PANOPTIC_FPN"]["COMBINE"]["METHOD"] = "other"
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    assert "COMBINE.METHOD is" in sentence(run)
    assert '"nothing/config.yaml" does not exist' in sentence(Path("nothing"))


def test_a_network_without_a_semantic_head_is_refused(run, capsys):
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["MODEL"]["META_ARCHITECTURE"] = "GeneralizedRCNN"
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    assert export(run) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "META_ARCHITECTURE GeneralizedRCNN cannot be exported; use a network" in error


def test_missing_package_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setattr("efficientps_d2.deploy.export.ONNX_PACKAGES", ("no_such_package",))
    with pytest.raises(InputError, match="no_such_package; run: pip install"):
        export_model(model, "onnx_dense", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
