"""One ONNX file from an image to its panoptic map: it says what the predictor says."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from dense_fusion import make_instances
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from project import run_verb
from pyramid import Pyramid

from efficientps_d2 import InputError, save_model
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.deploy.whole.check import agreement, check_whole, whole_runner
from efficientps_d2.deploy.whole.file import write_whole
from efficientps_d2.deploy.whole.model import OUTPUTS, WholeModel
from efficientps_d2.prediction.predictor import Predictor

KEEN = (
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 100),
    *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.2),
    *("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 30),
    *("INPUT.MIN_SIZE_TEST", 80, "INPUT.MAX_SIZE_TEST", 200),
)


@pytest.fixture
def predictor(toy, tiny_config, tmp_path):
    """Of a network of random weights, small but for its RPN, RoI heads and fusion."""
    torch.manual_seed(0)
    cfg = with_class_counts(tiny_config(toy, *KEEN))
    model = build_model(cfg)
    folder = save_model(tmp_path / "model", model, cfg, MetadataCatalog.get(toy))
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    pyramid = Pyramid(model, scale=5)

    def predictor(**combine) -> Predictor:
        changed = cfg.clone()
        changed.MODEL.PANOPTIC_FPN.COMBINE.merge_from_other_cfg(CfgNode(combine))
        predictor = Predictor(changed, MetadataCatalog.get(toy), "cpu", optimize=False)
        predictor.model.backbone = predictor.model.sem_seg_head = pyramid.eval()
        return predictor

    return predictor


def test_the_file_says_what_the_predictor_says(predictor, tmp_path):
    """Of images of any size, resized or not, with 100 detections, few and none."""
    path, usual = tmp_path / "model.onnx", predictor()
    write_whole(usual.model, usual.cfg, usual.metadata, path)
    found = check_whole(path, rgb(usual), ((80, 96), (24, 40), (37, 251), (150, 90)))
    assert [a for a in found if not a.holds] == []
    assert max(a.instances for a in found) == 100 and max(a.segments for a in found) > 5

    run = whole_runner(path)
    pixel = np.full((1, 1, 3), 90, np.uint8)  # in which scores of many boxes are the same
    assert run(pixel)["panoptic_seg"] == rgb(usual)(pixel).panoptic_seg
    image = np.random.default_rng(0).integers(0, 255, (80, 96, 3), dtype=np.uint8)
    before = len(rgb(usual)(image).segments)
    for name, key, value in (
        ("score_threshold", "INSTANCES_CONFIDENCE_THRESH", 1.0),
        ("overlap_threshold", "OVERLAP_THRESH", 0.9),
    ):
        expected = rgb(predictor(**{key: value}))(image)
        assert len(expected.segments) != before
        assert agreement(run(image, **{name: np.array(value, np.float32)}), expected).holds

    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    categories = json.loads(metadata["categories"])
    assert [c["name"] for c in categories] == usual.metadata.stuff_classes
    assert metadata["version"] == "1" and metadata["size_divisibility"] == "32"


def rgb(predictor: Predictor):
    return lambda image: predictor(image, "RGB")


def test_boxes_beyond_the_image_are_no_instances(predictor, monkeypatch):
    """As in Detectron2; here the second one lies in the padding."""
    boxes = torch.tensor([[4.0, 4, 40, 40], [100.0, 84, 110, 95], [8.0, 8, 20, 20]])
    found = boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 1])
    monkeypatch.setattr(WholeModel, "_detections", lambda *_: found)
    network = predictor()
    whole = WholeModel(network.model, network.cfg).eval()
    thresholds = torch.tensor(0.5), torch.tensor(0.5), torch.tensor(10)
    with torch.no_grad():
        values = whole(torch.zeros(80, 96, 3, dtype=torch.uint8), *thresholds)
    outputs = dict(zip(OUTPUTS, values, strict=True))
    assert outputs["boxes"].tolist() == boxes[[0, 2]].tolist()
    assert outputs["scores"].tolist() == found[1][[0, 2]].tolist()
    assert len(outputs["classes"]) == len(outputs["mask_logits"]) == 2


def test_a_wrong_file_is_not_kept(model_folder, monkeypatch, capsys):
    """Nor is one that says something else than the network."""

    def write_nothing(model, cfg, metadata, path):
        path.write_bytes(b"")

    monkeypatch.setattr("efficientps_d2.deploy.whole.file.write_whole", write_nothing)
    assert run_verb("export", "--model", model_folder, "--format", "onnx") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("Error: ONNX Runtime cannot run the onnx file")
    monkeypatch.setattr("efficientps_d2.deploy.whole.check.whole_runner", lambda path: nothing)
    assert run_verb("export", "--model", model_folder, "--format", "onnx") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "The onnx file differs from the network on an image of 256 x 512 pixels" in error
    assert not list(model_folder.glob("*.onnx"))


def nothing(image):
    size = image.shape[:2]
    empty = np.zeros(0)
    names = ("segment_classes", "segment_isthing", "segment_scores", "segment_areas")
    return {
        **dict.fromkeys((*names, "scores", "classes"), empty),
        "boxes": np.zeros((0, 4)),
        "panoptic_seg": np.zeros(size, np.int32),
        "sem_seg": np.zeros(size, np.uint8),
    }


@pytest.mark.parametrize(
    "name, overrides, told",
    [
        ("lpsnet_style_streets", (), "META_ARCHITECTURE LPSNetStyle cannot be exported as onnx"),
        ("mask_rcnn_streets", (), "META_ARCHITECTURE MaskRCNN cannot be exported as onnx"),
        ("upsnet_streets", (), "META_ARCHITECTURE UPSNet cannot be exported as onnx"),
        (
            "efficientps_streets",
            ("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True),
            "USE_SIGMOID_CE cannot be exported as onnx",
        ),
        (
            "efficientps_streets",
            ("MODEL.PANOPTIC_FPN.COMBINE.METHOD", "upsnet"),
            "COMBINE.METHOD upsnet cannot be exported as onnx; use one of adaptive,",
        ),
    ],
)
def test_networks_without_a_form_in_onnx_are_named(small_config, tmp_path, name, overrides, told):
    cfg = small_config(name, *overrides)
    with pytest.raises(InputError, match=told):
        write_whole(build_model(cfg).eval(), cfg, None, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_a_difference_is_noticed():
    instances = make_instances([[1, 1, 9, 9]], [0.9], [0], np.zeros((1, 4, 4)))
    size = (24, 32)
    segments = [type("S", (), {"category_id": 0, "isthing": False, "score": 0.5})()]
    maps = {"panoptic_seg": np.ones(size, np.int32), "sem_seg": np.zeros(size, np.uint8)}
    expected = type("P", (), {**maps, "segments": segments, "instances": instances})()
    found = {
        **maps,
        "segment_classes": np.array([0]),
        "segment_isthing": np.array([False]),
        "segment_scores": np.array([0.5]),
        "boxes": np.array([[1.0, 1, 9, 9]]),
        "scores": np.array([0.9]),
        "classes": np.array([0]),
    }
    assert agreement(found, expected).holds
    other = np.ones(size, np.int32)
    other[0] = 0
    for change in (
        {"panoptic_seg": other},
        {"sem_seg": other.astype(np.uint8)},
        {"segment_classes": np.array([1])},
        {"segment_isthing": np.array([True])},
        {"segment_scores": np.array([0.6])},
        {"boxes": np.array([[1.0, 1, 9, 9.1]])},
        {"classes": np.array([1])},
        {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "classes": np.zeros(0)},
    ):
        assert not agreement({**found, **change}, expected).holds, change
