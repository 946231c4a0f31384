"""The steps of the one ONNX file, each by itself: in ONNX they give what they give in PyTorch."""

import numpy as np
import onnxruntime
import pytest
import torch
from fusion_cases import cases
from hypothesis import given, settings
from torch import nn
from torch.export import Dim

from efficientps_d2.deploy.whole import functions, operations, winners
from efficientps_d2.deploy.whole.file import to_onnx
from efficientps_d2.deploy.whole.fusion_operation import fuse
from efficientps_d2.modeling.fusion.shared import stuff_classes


def values(results) -> list[np.ndarray]:
    """What functions of ONNX give when they are called without a file."""
    results = results if isinstance(results, tuple) else (results,)
    return [np.asarray(getattr(result, "value", result)) for result in results]


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
        return fuse(*inputs, *self.options)


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winners, "TILE", 10)  # so that there are several, and incomplete ones
        to_onnx(module, inputs, (shapes,), FUSED).save(path)
    session = onnxruntime.InferenceSession(path)

    def run(*tensors):
        feed = {k: x.numpy() for k, x in zip(inputs, tensors, strict=True)}
        return session.run(list(FUSED), feed)

    return module, run


@settings(max_examples=40)
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


def test_stuff_of_no_pixels_is_no_segment(both_fusions):
    """Also without a limit of its area."""
    nothing = [torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)]
    logits = torch.zeros(5, 24, 32)
    logits[2] = 1.0
    thresholds = torch.tensor(0.5), torch.tensor(0.5), torch.tensor(0)
    in_pytorch, in_onnx = both_fusions
    inputs = (*nothing, torch.zeros(0, 4, 4), logits, *thresholds)
    assert in_onnx(*inputs)[1].tolist() == in_pytorch(*inputs)[1].tolist() == [2]


def test_what_is_hidden_is_no_segment(both_fusions):
    """Also where any overlap is allowed: two instances are in the same place."""
    boxes = torch.tensor([[4.0, 4, 20, 20]]).repeat(2, 1)
    found = boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]), torch.ones(2, 4, 4)
    thresholds = torch.tensor(0.5), torch.tensor(1.0), torch.tensor(0)
    logits = torch.zeros(5, 24, 32)
    logits[2] = 0.1
    inputs = (*found, logits, *thresholds)
    in_pytorch, in_onnx = both_fusions
    expected = in_pytorch(*inputs)
    assert expected[1].tolist() == [THINGS[0], 2]
    for one, other in zip(in_onnx(*inputs)[:2], expected[:2], strict=True):
        assert one.tolist() == other.tolist()


def boxes(rng, count: int) -> np.ndarray:
    corners = rng.uniform([-5, -5], [160, 100], (count, 2))
    sides = rng.uniform(0, 40, (count, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 12, 300, 400), (5, 12, 7, 3), (0, 12, 7, 7)])
def test_group_norm(shape):
    rng = np.random.default_rng(0)
    x, weight, bias = (
        rng.normal(3, 2, size).astype(np.float32) for size in (shape, shape[1], shape[1])
    )
    tensors = map(torch.from_numpy, (weight, bias))
    expected = nn.functional.group_norm(torch.from_numpy(x), 4, *tensors)
    (found,) = values(functions.group_norm(x, 4, weight, bias))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("counts", [(200, 50, 20, 5), (10, 0, 3, 1), (0, 0, 0, 0)])
def test_proposals(counts):
    rng, size = np.random.default_rng(0), np.array([100, 160])
    levels = [boxes(rng, n) for n in counts]
    logits = [rng.normal(size=n).astype(np.float32) for n in counts]
    if counts[0] > 1:  # what is not finite is no proposal
        levels[0][3, 1], levels[0][5, 2], logits[0][7] = np.nan, np.inf, np.nan
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
    if count:  # what is not finite is no detection
        given_boxes[3, 1], given_boxes[5, 2], probabilities[7, 0] = np.nan, np.inf, np.nan
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
        (48, 64, (48, 64)),
    ],
)
def test_images_are_resized_as_by_pillow(height, width, limits):
    """To the last bit."""
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    rest = (*limits, 32, [120.0, 110.0, 100.0], [58.0, 57.0, 56.0], True)
    expected = operations.prepare(torch.from_numpy(image), *rest)
    for found, other in zip(values(functions.prepare(image, *rest)), expected, strict=True):
        np.testing.assert_array_equal(found, other.numpy())
