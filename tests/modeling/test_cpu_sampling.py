"""ROIAlign by sums of pixels gives what torchvision's operator gives."""

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import build_model
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2.modeling.cpu_sampling import SampledROIAlign

SIDE = st.integers(1, 9)
NUMBER = st.floats(-60, 90, width=32)


@settings(max_examples=60)
@given(
    size=st.tuples(SIDE, SIDE),
    output=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    ratio=st.integers(1, 3),
    boxes=st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), max_size=5),
)
def test_it_is_roi_align(size, output, ratio, boxes):
    """Also for boxes without area, turned round, and outside."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, requires_grad=True)
    boxes = torch.tensor(boxes).reshape(-1, 4)
    rois = torch.cat([torch.arange(len(boxes))[:, None] % 2, boxes], dim=1)
    results = []
    for kind in (SampledROIAlign, ROIAlign):
        cells = kind(output, 0.25, ratio)(x, rois)
        (gradient,) = torch.autograd.grad(cells.square().sum(), x)
        results.append((cells, gradient))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


def test_boxes_that_are_not_finite_do_no_harm():
    """They come from a network that has diverged, whose training must end with a sentence."""
    rois = torch.tensor([[0.0, float("nan"), 0, 9, 9], [0, 0, 0, float("inf"), 9]])
    assert SampledROIAlign((2, 2), 1.0, 2)(torch.ones(1, 1, 4, 4), rois).shape == (2, 1, 2, 2)


@pytest.mark.parametrize(
    "options", [{"sampling_ratio": 0}, {"sampling_ratio": 2, "aligned": False}]
)
def test_other_forms_are_torchvisions(options):
    x, rois = torch.randn(1, 2, 8, 8), torch.tensor([[0.0, 3, 3, 28, 20]])
    found, expected = (
        kind((2, 3), 0.25, **options)(x, rois) for kind in (SampledROIAlign, ROIAlign)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["efficientps_streets", "upsnet_streets", "mask_rcnn_streets"])
def test_all_networks_with_roi_heads_have_it(small_config, name):
    heads = build_model(small_config(name)).roi_heads
    for pooler in (heads.box_pooler, heads.mask_pooler):
        assert [type(align) for align in pooler.level_poolers] == [SampledROIAlign] * 4
