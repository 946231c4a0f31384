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
from fusion_cases import cases
from hypothesis import given, settings
from project import run_verb
from pyramid import Pyramid
from torch import nn
from torch.export import Dim

from efficientps_d2 import InputError, save_model
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.deploy.whole import functions, operations
from efficientps_d2.deploy.whole.check import agreement, check_whole, whole_runner
from efficientps_d2.deploy.whole.file import to_onnx, write_whole
from efficientps_d2.modeling.fusion.shared import stuff_classes
from efficientps_d2.prediction.predictor import Predictor

KEEN = (
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 100),
    *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.2),
    *("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 30),
    *("INPUT.MIN_SIZE_TEST", 80, "INPUT.MAX_SIZE_TEST", 200),
)


def values(results) -> list[np.ndarray]:
    """What functions of ONNX give when they are called without a file."""
    results = results if isinstance(results, tuple) else (results,)
    return [np.asarray(getattr(result, "value", result)) for result in results]


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


THINGS = [3, 1]
RULES = {
    "adaptive": ("adaptive", 0.3, 1.0, True),
    "adaptive, published": ("adaptive", 0.3, 4.0, False),
    "log_odds": ("log_odds", 0.3, 1.0, True),
    "heuristic": ("heuristic", 0.3, 1.0, True),
}
FUSED = ("map", "segment_classes", "isthing", "segment_scores", "areas", "labels")


class Fusing(nn.Module):
    def __init__(self, rule: str):
        super().__init__()
        method, *options = RULES[rule]
        self.options = (method, THINGS, stuff_classes(5, THINGS), *options)

    def forward(self, *inputs):
        return operations.fuse(*inputs, *self.options)


@pytest.fixture(scope="module", params=RULES)
def both_fusions(request, tmp_path_factory):
    """A rule in PyTorch and in ONNX, from the same inputs."""
    count, module = Dim("count"), Fusing(request.param)
    inputs = {
        "boxes": torch.rand(3, 2).repeat(1, 2) + torch.tensor([0.0, 0, 5, 5]),
        "scores": torch.rand(3),
        "classes": torch.tensor([0, 1, 0]),
        "mask_logits": torch.randn(3, 4, 4),
        "sem_seg": torch.randn(5, 24, 32),
        "score_threshold": torch.tensor(0.5),
        "overlap_threshold": torch.tensor(0.5),
        "stuff_area_limit": torch.tensor(10),
    }
    shapes = ({0: count}, {0: count}, {0: count}, {0: count}, *[None] * 4)
    path = tmp_path_factory.mktemp("fusion") / "fusion.onnx"
    to_onnx(module, inputs, (shapes,), FUSED).save(path)
    session = onnxruntime.InferenceSession(path)

    def run(*tensors):
        feed = {k: x.numpy() for k, x in zip(inputs, tensors, strict=True)}
        return session.run(list(FUSED), feed)

    return module, run


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_fusions_are_those_of_pytorch(both_fusions, case):
    instances, logits, options = case
    inputs = (
        *(instances.pred_boxes.tensor, instances.scores, instances.pred_classes % 2),
        *(instances.pred_mask_logits, logits, torch.tensor(options["score_threshold"])),
        torch.tensor(options["overlap_threshold"]),
        torch.tensor(options["stuff_area_limit"]),
    )
    in_pytorch, in_onnx = both_fusions
    expected, found = in_pytorch(*inputs), in_onnx(*inputs)
    assert (found[0] == expected[0].numpy()).mean() > 0.995
    for kind in (1, 2):
        assert found[kind].tolist() == expected[kind].tolist()
    np.testing.assert_allclose(found[3], expected[3].numpy(), atol=1e-4)
    np.testing.assert_array_equal(found[5], expected[5].numpy())


def boxes(rng, count: int) -> np.ndarray:
    corners = rng.uniform([-5, -5], [160, 100], (count, 2))
    sides = rng.uniform(0, 40, (count, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


@pytest.mark.parametrize("counts", [(200, 50, 20, 5), (10, 0, 3, 1), (0, 0, 0, 0)])
def test_proposals(counts):
    rng, size = np.random.default_rng(0), np.array([100, 160])
    levels = [boxes(rng, n) for n in counts]
    logits = [rng.normal(size=n).astype(np.float32) for n in counts]
    limits = (0.7, 100, 120, 0.0)
    tensors = [list(map(torch.from_numpy, arrays)) for arrays in (levels, logits)]
    expected = operations.select_proposals(*tensors, torch.from_numpy(size), *limits)
    (found,) = values(functions.select_proposals(levels, logits, size, *limits))
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.parametrize("count", [60, 1, 0])
@pytest.mark.parametrize("samples, aligned", [(2, True), (0, True), (2, False)])
def test_pooling(count, samples, aligned):
    rng = np.random.default_rng(0)
    shapes = [(1, 3, 64 // 2**i, 96 // 2**i) for i in range(4)]
    features = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    given_boxes = boxes(rng, count)
    given_boxes[:, 2:] = given_boxes[:, :2] + rng.uniform(1, 300, (count, 2))
    rest = ([4, 8, 16, 32], 7, samples, aligned, 224, 4)
    tensors = list(map(torch.from_numpy, features))
    expected = operations.pool(tensors, torch.from_numpy(given_boxes), *rest)
    (found,) = values(functions.pool(features, given_boxes, *rest))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [200, 0])
@pytest.mark.parametrize("classes, of_class", [(5, True), (5, False), (1, True)])
@pytest.mark.parametrize("most", [20, -1])
def test_detections(count, classes, of_class, most):
    rng, size = np.random.default_rng(0), np.array([100, 160])
    given_boxes = np.tile(boxes(rng, count), (1, classes if of_class else 1))
    given_boxes += rng.normal(size=given_boxes.shape).astype(np.float32)
    probabilities = rng.dirichlet(np.ones(classes + 1), count).astype(np.float32)
    probabilities = probabilities.reshape(count, classes + 1)
    arrays, limits = (given_boxes, probabilities, size), (0.1, 0.5, most)
    expected = operations.select_detections(*map(torch.from_numpy, arrays), *limits)
    for found, other in zip(
        values(functions.select_detections(*arrays, *limits)), expected, strict=True
    ):
        np.testing.assert_array_equal(found, other.numpy())


@pytest.mark.parametrize(
    "height, width, limits",
    [
        (37, 53, (0, 0)),
        (64, 96, (80, 200)),
        (97, 60, (48, 64)),
        (300, 5, (64, 100)),
        (40, 40, (60, 99)),
    ],
)
def test_images_are_resized_as_by_pillow(height, width, limits):
    """To the last bit."""
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    rest = (*limits, 32, [120.0, 110.0, 100.0], [58.0, 57.0, 56.0], True)
    expected = operations.prepare(torch.from_numpy(image), *rest)
    for found, other in zip(values(functions.prepare(image, *rest)), expected, strict=True):
        np.testing.assert_array_equal(found, other.numpy())


def test_a_wrong_file_is_not_kept(model_folder, monkeypatch, capsys):
    """Nor is one that says something else than the network."""

    def write_nothing(model, cfg, metadata, path):
        path.write_bytes(b"")

    monkeypatch.setattr("efficientps_d2.deploy.whole.file.write_whole", write_nothing)
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
