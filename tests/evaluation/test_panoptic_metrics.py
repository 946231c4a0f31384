"""PQ equals panopticapi to the last digit, PQ-dagger and PC their definitions, in every corner."""

import contextlib
import io
import json

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPanopticSemanticLabeling as cityscapes_pq
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from panopticapi import evaluation as panopticapi
from panopticapi.utils import id2rgb
from PIL import Image
from project import ROOT

from efficientps_d2.evaluation.panoptic_metrics import (
    PanopticSums,
    class_metrics,
    count_overlaps,
    mean_metrics,
)

CASES = json.loads((ROOT / "tests" / "helpers" / "metric_corner_cases.json").read_text())
# Classes of the cases: sky and road are stuff, car and person things.
NUM_CLASSES, THING_IDS = 5, [3, 4]


def segments(table, crowd=True):
    return [
        {"id": int(i), "category_id": v[0], "iscrowd": v[1]} if crowd
        else {"id": int(i), "category_id": v}
        for i, v in table.items()
    ]  # fmt: skip


def add(sums, case):
    return sums.add_image(
        np.array(case["truth"]),
        segments(case["truth_segments"]),
        np.array(case["prediction"]),
        segments(case["predicted_segments"], crowd=False),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_corner_cases(case):
    sums, expected = PanopticSums(NUM_CLASSES), case["expected"]
    if isinstance(expected["api"], str):  # panopticapi raises a KeyError
        with pytest.raises(ValueError, match="only in its map or only|unknown class"):
            add(sums, case)
        assert sums.tp.sum() == sums.fn.sum() == 0, "nothing is half counted"
        return
    matches = add(sums, case)
    for i in range(NUM_CLASSES):
        iou, *counts = expected["api"].get(str(i), [0.0, 0, 0, 0])
        assert sums.fractions("iou")[i] == pytest.approx(iou, abs=1e-4)
        assert [sums.tp[i], sums.fp[i], sums.fn[i]] == counts
        kinds = [m.kind for m in matches if m.class_id == i]
        assert [kinds.count(k) for k in ("tp", "fp", "fn")] == counts
    means = mean_metrics(sums, THING_IDS)
    for name, key in (("PQ", "api_pq"), ("PQ_th", "api_th"), ("PQ_st", "api_st"), ("PC", "PC")):
        value = expected[key]
        value = float("nan") if value == "ZeroDivisionError" or not expected["api"] else value
        assert means[name] == pytest.approx(value, abs=1e-4, nan_ok=True), name
    of_class = class_metrics(sums, THING_IDS)["PC"]
    for i, value in expected["PC_per"].items():
        assert of_class[int(i)] == pytest.approx(value, abs=1e-3)


@st.composite
def images(draw):
    """Maps of a few segments each, with void, crowds, and true segments that cross predictions."""

    def side(name):
        ids = draw(st.lists(st.integers(1, 256**3 - 1), min_size=1, max_size=6, unique=True))
        shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 12))) if name == "truth" else size
        index = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, len(ids))))
        pixels = np.array([0, *ids])[index]
        present = [i for i in ids if (pixels == i).any()]
        classes = [draw(st.integers(0, NUM_CLASSES - 1)) for _ in present]
        listed = [
            {"id": i, "category_id": c, "iscrowd": 0, "area": int((pixels == i).sum())}
            for i, c in zip(present, classes, strict=True)
        ]
        return pixels, listed

    gt, gt_segments = side("truth")
    size = gt.shape
    for segment in gt_segments:
        segment["iscrowd"] = draw(st.integers(0, 1)) if segment["category_id"] in THING_IDS else 0
    return gt, gt_segments, *side("prediction")


def score(some_images) -> PanopticSums:
    sums = PanopticSums(NUM_CLASSES)
    for image in some_images:
        sums.add_image(*image)
    return sums


def by_panopticapi(folder, some_images):
    """The counts that panopticapi makes from files."""
    pairs = []
    for i, (gt, true, prediction, predicted) in enumerate(some_images):
        Image.fromarray(id2rgb(gt)).save(folder / f"t{i}.png")
        Image.fromarray(id2rgb(prediction)).save(folder / f"p{i}.png")
        pairs.append(
            (
                {"image_id": i, "file_name": f"t{i}.png", "segments_info": true},
                {"image_id": i, "file_name": f"p{i}.png", "segments_info": predicted},
            )
        )
    categories = {i: {"isthing": int(i in THING_IDS)} for i in range(NUM_CLASSES)}
    return pairs, categories


@settings(max_examples=60)
@given(st.lists(images(), min_size=1, max_size=3))
def test_pq_is_that_of_panopticapi_but_for_rounding(tmp_path_factory, some_images):
    folder = tmp_path_factory.mktemp("pq")
    pairs, categories = by_panopticapi(folder, some_images)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = panopticapi.pq_compute_single_core(0, pairs, folder, folder, categories)
        second = cityscapes_pq.pq_compute_single_core(0, pairs, folder, folder, categories)
    sums = score(some_images)
    for stat in (expected, second):
        for i in range(NUM_CLASSES):
            assert sums.tp[i] == stat[i].tp
            assert sums.fractions("iou")[i] == pytest.approx(stat[i].iou, rel=1e-14)
            assert (sums.fp[i], sums.fn[i]) == (stat[i].fp, stat[i].fn)
    means = mean_metrics(sums, THING_IDS)
    for suffix, isthing in (("", None), ("_th", True), ("_st", False)):
        try:
            average, of_class = expected.pq_average(categories, isthing)
        except ZeroDivisionError:
            assert np.isnan(means[f"PQ{suffix}"])
            continue
        for name in ("PQ", "SQ", "RQ"):
            assert means[name + suffix] == pytest.approx(100 * average[name.lower()], rel=1e-14)
            values = class_metrics(sums, THING_IDS)[name]
            for i, value in of_class.items():
                assert np.nan_to_num(values[i]) == pytest.approx(
                    100 * value[name.lower()], rel=1e-14
                )


@settings(max_examples=60)
@given(st.lists(images(), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_neither_order_nor_number_of_processes_changes_a_digit(some_images, random):
    together = class_metrics(score(some_images), THING_IDS)
    random.shuffle(some_images)
    parts = score(some_images[:1])
    parts += score(some_images[1:])
    apart = class_metrics(parts, THING_IDS)
    assert all(np.array_equal(together[m], apart[m], equal_nan=True) for m in together)


def slow_pc_and_dagger(some_images):
    """Both by their definitions, with masks."""
    covered, weight = np.zeros(NUM_CLASSES), np.zeros(NUM_CLASSES)
    dagger, count = np.zeros(NUM_CLASSES), np.zeros(NUM_CLASSES)
    for gt, true, prediction, predicted in some_images:
        crowds = [s["id"] for s in true if s["iscrowd"]]
        valid = (gt != 0) & ~np.isin(gt, crowds)
        for t in true:
            if t["iscrowd"]:
                continue
            region, c = gt == t["id"], t["category_id"]
            same = [prediction == p["id"] for p in predicted if p["category_id"] == c]
            best = max(((region & m).sum() / (region | (m & valid)).sum() for m in same), default=0)
            weight[c] += region.mean()
            covered[c] += region.mean() * best
            count[c] += 1
            dagger[c] += sum((region & m).sum() / (region | (m & (gt != 0))).sum() for m in same)
    return covered, weight, dagger, count


@settings(max_examples=60)
@given(st.lists(images(), min_size=1, max_size=3))
def test_pc_and_pq_dagger_are_their_definitions(some_images):
    covered, weight, dagger, count = slow_pc_and_dagger(some_images)
    metrics = class_metrics(score(some_images), THING_IDS)
    for i in range(NUM_CLASSES):
        if not count[i]:
            assert np.isnan(metrics["PC"][i])
            continue
        assert metrics["PC"][i] == pytest.approx(100 * covered[i] / weight[i])
        if i not in THING_IDS:
            assert metrics["PQ_dagger"][i] == pytest.approx(100 * dagger[i] / count[i])
    for i in THING_IDS:
        assert metrics["PQ_dagger"][i] == pytest.approx(metrics["PQ"][i], nan_ok=True)


@settings(max_examples=30)
@given(st.lists(images(), min_size=2, max_size=4), st.randoms())
def test_neither_order_nor_processes_matter(some_images, random):
    expected = mean_metrics(score(some_images), THING_IDS)
    random.shuffle(some_images)
    parts = score(some_images[:1])
    parts += score(some_images[1:])
    assert mean_metrics(parts, THING_IDS) == pytest.approx(expected, nan_ok=True)


@given(images())
def test_overlaps_are_those_of_a_slow_count(image):
    gt, _, prediction, _ = image
    overlaps = count_overlaps(gt.astype(np.int32), prediction)
    pairs = list(zip(gt.ravel().tolist(), prediction.ravel().tolist(), strict=True))
    assert overlaps.pairs == {pair: pairs.count(pair) for pair in pairs}
    assert sum(overlaps.gt.values()) == sum(overlaps.prediction.values()) == gt.size


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"id": 1, "category_id": 1}] * 2, "one of them twice"),
        ([{"id": 1, "category_id": 1, "area": 3}], "of 4 pixels whose area is said to be 3"),
    ],
)
def test_contradictions_are_not_scored(segments, message):
    """panopticapi takes the area on trust, and the last of two segments."""
    sums = PanopticSums(NUM_CLASSES)
    with pytest.raises(ValueError, match=message):
        sums.add_image(np.ones((2, 2), int), segments, np.zeros((2, 2), int), [])


def test_large_images_weigh_no_more_than_small_ones_in_pc():
    """Regions are weighted by their share of the image, as in the code of DeeperLab."""
    sums = PanopticSums(NUM_CLASSES)
    whole = [{"id": 1, "category_id": 1}]
    sums.add_image(np.ones((10, 10), int), whole, np.ones((10, 10), int), whole)
    sums.add_image(np.ones((2, 2), int), whole, np.zeros((2, 2), int), [])
    assert mean_metrics(sums, THING_IDS)["PC"] == 50
