"""One ONNX file from an image to its panoptic map: it says what the predictor says."""

from dataclasses import replace

import numpy as np
import onnx
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
from efficientps_d2.deploy.whole.check import agreement, compare_painted
from efficientps_d2.deploy.whole.file import require_known_parts, write_whole
from efficientps_d2.deploy.whole.model import WholeModel
from efficientps_d2.deploy.whole.notes import note, note_memory
from efficientps_d2.deploy.whole.quantize import kept_in_float, quantize
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2_runtime import Prediction, Segment, load
from efficientps_d2_runtime.network_file import OUTPUTS

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
    cfg.MODEL.WEIGHTS = str(folder / "model.safetensors")
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
    network = load(path)
    found = compare_painted(rgb(network), rgb(usual), ((80, 96), (24, 40), (37, 251), (150, 90)))
    assert [a for a in found if not a.holds] == []
    assert max(a.instances for a in found) == 100 and max(a.segments for a in found) > 5

    pixel = np.full((1, 1, 3), 90, np.uint8)  # in which scores of many boxes are the same
    assert network(pixel).panoptic_seg == rgb(usual)(pixel).panoptic_seg
    image = np.random.default_rng(0).integers(0, 255, (80, 96, 3), dtype=np.uint8)
    before = len(rgb(usual)(image).segments)
    for name, key, value in (
        ("score_threshold", "INSTANCES_CONFIDENCE_THRESH", 1.0),
        ("overlap_threshold", "OVERLAP_THRESH", 0.9),
    ):
        expected = rgb(predictor(**{key: value}))(image)
        assert len(expected.segments) != before
        assert agreement(network(image, "RGB", **{name: value}), expected).holds

    assert [c["name"] for c in network.categories] == usual.metadata.stuff_classes
    metadata = network.session.get_modelmeta().custom_metadata_map
    assert metadata["version"] == "1" and metadata["size_divisibility"] == "32"
    assert (metadata["score_threshold"], metadata["stuff_area_limit"]) == ("0.2", "30")
    note_memory(path)
    need = load(path).need
    assert 1 < need.network_pixel < 10_000 and 0 < need.image_pixel < 1000

    eight_bits = tmp_path / "model_int8.onnx"
    quantize(path, eight_bits, iter([image]))
    note(eight_bits, eight_bits="0.10 PQ lost on toy")
    assert str(load(eight_bits)) == f"{network}, in 8 bits (0.10 PQ lost on toy)"
    found, expected = load(eight_bits)(image), network(image)
    assert found.scores.tolist() != expected.scores.tolist()
    assert (found.sem_seg == expected.sem_seg).mean() > 0.9


def test_datasets_are_for_whole_networks(model_folder, capsys):
    command = ("export", "--model", model_folder, "--format", "torchscript")
    for flag in ("--check", "--quantize"):
        with pytest.raises(SystemExit, match="2"):
            run_verb(*command, flag, "toy")
        assert "--check and --quantize are for --format onnx" in capsys.readouterr().err


def rgb(predictor):
    """Of a ``Predictor`` or a network of the runtime."""
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

    def write_nothing(model, cfg, metadata, path, say):
        path.write_bytes(b"")

    monkeypatch.setattr("efficientps_d2.deploy.whole.run.write_whole", write_nothing)
    assert run_verb("export", "--model", model_folder, "--format", "onnx") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "is incomplete or of another program" in error
    monkeypatch.setattr("efficientps_d2.deploy.whole.run.load", lambda path, threads: nothing)
    assert run_verb("export", "--model", model_folder, "--format", "onnx") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "The onnx file differs from the network on an image of 256 x 512 pixels" in error
    assert not list(model_folder.glob("*.onnx"))


def nothing(image, image_format):
    return prediction(image.shape[:2], [], np.zeros((0, 4)), [], [])


def prediction(size, segments, boxes, scores, classes, sem_seg=None) -> Prediction:
    pan_seg, zeros = np.zeros(size, np.int32), np.zeros(size, np.uint8)
    values = (np.asarray(boxes), np.asarray(scores), np.asarray(classes))
    return Prediction(pan_seg, segments, zeros if sem_seg is None else sem_seg, *values, None)


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


def test_a_mask_head_of_others_is_named(predictor):
    network = predictor()
    network.model.roi_heads.mask_head = torch.nn.Identity()
    with pytest.raises(InputError, match="^Identity cannot be exported as onnx.*no layers; --for"):
        require_known_parts(network.model, network.cfg)


def test_a_difference_is_noticed():
    size, segment = (24, 32), Segment(1, 0, "road", False, 0.5, 768)
    logits = np.ones((1, 4, 4), np.float32)
    instances = make_instances([[1, 1, 9, 9]], [0.9], [0], logits)
    found = prediction(size, [segment], [[1.0, 1, 9, 9]], [0.9], [0])
    found = replace(found, panoptic_seg=np.ones(size, np.int32), mask_logits=logits)
    instances.pred_masks = torch.from_numpy(found.masks)
    expected = type("P", (), {**vars(found), "instances": instances})()
    assert agreement(found, expected).holds
    other = np.zeros(size, np.int32)
    other[0] = 1
    for change in (
        {"panoptic_seg": other},
        {"sem_seg": other.astype(np.uint8)},
        {"segments": [replace(segment, category_id=1)]},
        {"segments": [replace(segment, isthing=True)]},
        {"segments": [replace(segment, score=0.6)]},
        {"segments": [replace(segment, area=767)]},
        {"segments": []},
        {"scores": np.array([np.nan])},
        {"boxes": np.array([[1.0, 1, 9, np.nan]])},
        {"mask_logits": -logits},
        {"mask_logits": logits * np.nan},
        {"boxes": np.array([[1.0, 1, 9, 9.1]])},
        {"classes": np.array([1])},
        {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "classes": np.zeros(0)},
    ):
        assert not agreement(replace(found, **change), expected).holds, change


def test_few_convolutions_stay_in_float():
    """The first one, depthwise ones and those that predict."""
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "backbone.stem.weight"], ["a"], name="stem"),
        node("Conv", ["a", "backbone.conv_dw.weight"], ["b"], name="depthwise", group=8),
        node("Conv", ["b", "backbone.conv_pw.weight"], ["c"], name="pointwise", group=1),
        node("Relu", ["c"], ["d"], name="relu"),
        node("Conv", ["d", "rpn_head.anchor_deltas.weight"], ["e"], name="deltas"),
        node("Conv", ["d", "sem_seg_head.predictor.weight"], ["f"], name="classes"),
        node("Conv", ["d", "mask_head.fcn1.weight"], ["g"], name="mask"),
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "network", [], []))
    assert kept_in_float(model) == ["stem", "depthwise", "deltas", "classes"]
