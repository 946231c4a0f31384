"""Suggested settings fit the data they come from, and suit the configs found good by hand."""

import shlex

import detectron2.data.transforms as T
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from project import CONFIGS

from efficientps_d2.config.keys import value_of
from efficientps_d2.config.loading import load_config
from efficientps_d2.data.checks.dataset import Statistics
from efficientps_d2.data.checks.suggest import LEVELS, anchor_sizes, resize_factors, suggest_config
from efficientps_d2.data.checks.tables import suggestion_text

ANCHORS = "MODEL.ANCHOR_GENERATOR.SIZES"
SIZES = hnp.arrays(
    np.float64, st.integers(1, 200), elements={"min_value": 1.0, "max_value": 1000.0}
)


def statistics(images, sizes=(), stuff=()) -> Statistics:
    """Of (height, width) images, with things spread over them in turn."""
    counts = np.bincount(np.arange(len(sizes)) % len(images), minlength=len(images))
    images = np.column_stack([images, counts])
    where = np.repeat(images[:, :2], counts, axis=0)
    things = np.column_stack([np.asarray(sizes, dtype=float), where])
    return Statistics(images, things, np.asarray(stuff, dtype=float), {})


def suggested(*args) -> dict:
    return {s.key: s.value for s in suggest_config(statistics(*args))}


@given(SIZES, st.sampled_from([LEVELS, (*LEVELS, "p6")]))
@example(np.array([20.0] + [100.0] * 10), LEVELS)
def test_anchors_ascend_and_cover(things, levels):
    sizes = anchor_sizes(things, levels)
    strides = (4, 8, 16, 32, 64)[: len(levels)]
    assert all(a < b for a, b in zip(sizes, sizes[1:], strict=False))
    assert all(size >= 2 * stride for size, stride in zip(sizes, strides, strict=True))
    # Up to half a pixel of rounding; what is smaller than two strides has no anchor anyway.
    assert ((things < sizes[0] - 0.51) & (things > 8.5)).mean() <= 0.05
    assert (things > sizes[-1] + 0.51).mean() <= 0.01
    steps = np.divide(sizes[1:], sizes[:-1])
    if sizes[0] > 20 and all(size > 3 * s for size, s in zip(sizes, strides, strict=True)):
        assert steps == pytest.approx(steps[0], rel=0.1), "geometric"
        assert steps.min() > 1.3


@given(SIZES, st.data())
def test_larger_things_never_give_smaller_anchors(things, data):
    grown = things + data.draw(
        hnp.arrays(np.float64, things.shape, elements={"min_value": 0, "max_value": 500})
    )
    assert all(a <= b for a, b in zip(anchor_sizes(things), anchor_sizes(grown), strict=True))


@given(
    hnp.arrays(np.int64, st.integers(1, 300), elements={"min_value": 1, "max_value": 10**6}),
    st.integers(8, 2000),
)
def test_stuff_limit_loses_at_most_one_percent(areas, edge):
    limit = suggested([(edge, edge)], (), areas)["MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT"]
    assert limit >= 1 and (areas < limit).mean() <= 0.01
    usable = min(np.sort(areas)[int(0.01 * (len(areas) - 1))], 0.004 * edge**2)
    assert 2 * limit > usable, "not smaller than it needs to be"


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=5))
def test_detections_exceed_the_things_of_a_image(counts):
    images = np.array([(500, 500, count) for count in counts])
    things = np.full((sum(counts), 3), (40.0, 500, 500))
    values = {s.key: s.value for s in suggest_config(Statistics(images, things, things[:0, 0], {}))}
    if not sum(counts):
        assert "TEST.DETECTIONS_PER_IMAGE" not in values
        return
    detections = values["TEST.DETECTIONS_PER_IMAGE"]
    assert 100 <= detections <= 1000 and detections >= min(max(counts), 1000)
    for phase in ("TRAIN", "TEST"):
        after = values[f"MODEL.RPN.POST_NMS_TOPK_{phase}"]
        assert detections < after <= values[f"MODEL.RPN.PRE_NMS_TOPK_{phase}"]


@given(
    st.lists(st.tuples(st.integers(16, 5000), st.integers(16, 5000)), min_size=1, max_size=6),
    SIZES,
)
def test_sizes_fit_each_other(images, things):
    values = suggested(images, things, [500])
    (short,), longest = values["INPUT.MIN_SIZE_TRAIN"], values["INPUT.MAX_SIZE_TRAIN"]
    assert (values["INPUT.MIN_SIZE_TEST"], values["INPUT.MAX_SIZE_TEST"]) == (short, longest)
    assert 0 < short <= longest and short <= 1024
    height, width = values["INPUT.CROP.SIZE"]
    assert 32 <= height <= min(longest, 640) and 32 <= width <= min(longest, 640)
    assert short * (longest - 32) <= 1024 * 2048 or longest < short + 32
    median = np.median(np.min(images, axis=1))
    assert short >= min(median, 1024) * 0.9, "never reduced without need"


@pytest.mark.parametrize("size", [(256, 512), (700, 300), (1040, 1040)])
@pytest.mark.parametrize(("short", "longest"), [(512, 1024), (512, 700), (100, 2000)])
def test_resize_is_that_of_detectron2(size, short, longest):
    expected = T.ResizeShortestEdge.get_output_shape(*size, short, longest)
    (factor,) = resize_factors([size], short, longest)
    assert np.multiply(size, factor) == pytest.approx(expected, abs=0.51)
    assert resize_factors([size], 0, longest) == [1]


def test_small_things_are_enlarged():
    """As found good by hand for microscopy, and as unneeded for streets."""
    rng = np.random.default_rng(0)
    nuclei = suggested([(256, 256), (256, 320)], rng.lognormal(np.log(16), 0.6, 360), [60000])
    assert nuclei["INPUT.MIN_SIZE_TRAIN"] == (512,) and nuclei["INPUT.CROP.SIZE"] == [320, 320]
    assert nuclei["MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT"] == 256
    assert nuclei["TEST.DETECTIONS_PER_IMAGE"] == 300
    assert nuclei["MODEL.RPN.POST_NMS_TOPK_TEST"] == 600
    (smallest,), *_, (largest,) = nuclei["MODEL.ANCHOR_GENERATOR.SIZES"]
    assert 8 <= smallest <= 16 and 90 <= largest <= 150

    streets = suggested([(256, 512)] * 9, rng.lognormal(np.log(23.5), 0.45, 100), [60, 11000])
    assert streets["INPUT.MIN_SIZE_TRAIN"] == (256,) and streets["INPUT.MAX_SIZE_TRAIN"] == 512
    assert streets["MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT"] == 32
    assert streets["TEST.DETECTIONS_PER_IMAGE"] == 100

    large = suggested([(3000, 4000)] * 2, [600.0] * 9)
    assert large["INPUT.MIN_SIZE_TRAIN"] == (1024,), "large images are reduced"


def test_long_images_keep_their_things():
    """Range images are long, but not large: they stay as they are, and so do their things."""
    suggestions = suggest_config(statistics([(64, 2048)] * 3, [20.0] * 9))
    values = {s.key: s.value for s in suggestions}
    assert (values["INPUT.MIN_SIZE_TRAIN"], values["INPUT.MAX_SIZE_TRAIN"]) == ((64,), 2048)
    (anchors,) = (s.reason for s in suggestions if s.key.endswith("SIZES"))
    assert "20 (median)" in anchors
    assert suggested([(512, 16384)], [20.0])["INPUT.MAX_SIZE_TRAIN"] == 4096, "memory"


def test_crops_hold_twice_the_largest_things():
    assert suggested([(600, 900)], [100.0] * 9)["INPUT.CROP.SIZE"] == [320, 320]
    assert suggested([(600, 900)], [200.0] * 9)["INPUT.CROP.SIZE"] == [416, 416]
    assert suggested([(1000, 900)], [700.0] * 9)["INPUT.CROP.SIZE"] == [640, 640]


def test_suggestions_go_with_what_is_given():
    case = statistics([(100, 200)] * 3, [30.0] * 9, [500])
    given = {"INPUT.MIN_SIZE_TRAIN": (400,), "TEST.DETECTIONS_PER_IMAGE": 600}
    values = {s.key: s.value for s in suggest_config(case, given)}
    assert not given.keys() & values.keys()
    assert T.ResizeShortestEdge.get_output_shape(100, 200, 400, values["INPUT.MAX_SIZE_TRAIN"]) == (
        (400, 800)
    )
    alone = {s.key: s.value for s in suggest_config(case)}
    assert values[ANCHORS] == suggested([(400, 800)] * 3, [120.0] * 9)[ANCHORS]
    assert values["MODEL.RPN.POST_NMS_TOPK_TEST"] == 1200
    levels = {"MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"]}
    assert len({s.key: s.value for s in suggest_config(case, levels)}[ANCHORS]) == 5
    native = {s.key: s.value for s in suggest_config(case, {"INPUT.MIN_SIZE_TRAIN": (0,)})}
    assert native[ANCHORS] == alone[ANCHORS] and native["INPUT.MIN_SIZE_TEST"] == 0


def test_printed_overrides_can_be_pasted():
    """And what the data say nothing about is not suggested."""
    suggestions = suggest_config(statistics([(256, 256)], [10.0] * 150, [50, 60000]))
    assert all(s.reason and "\n" not in s.reason for s in suggestions)
    overrides = shlex.split(suggestion_text(suggestions).rpartition(":\n\n")[2].replace("\\\n", ""))
    cfg = load_config(str(CONFIGS / "efficientps_streets.yaml"), overrides)
    assert len(overrides) == 2 * len(suggestions) == 24
    for suggestion in suggestions:
        assert value_of(cfg, suggestion.key) == suggestion.value
    without = suggested([(100, 100)])
    assert set(without) == {
        *("INPUT.MIN_SIZE_TRAIN", "INPUT.MAX_SIZE_TRAIN", "INPUT.CROP.SIZE"),
        *("INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST"),
    }
    assert suggest_config(Statistics(*np.zeros((2, 0, 3)), np.zeros(0), {})) == []
    assert "nothing to suggest" in suggestion_text([])
