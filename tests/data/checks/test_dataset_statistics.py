"""What the dataset checker counts and measures, and how it repairs maps of segments."""

import json

import numpy as np
import pytest
from checker import GROUND_TRUTH, check, edit_json
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from panopticapi.utils import id2rgb, rgb2id
from PIL import Image
from scenes import write_dataset

from efficientps_d2.config.loading import load_config
from efficientps_d2.data.checks.listing import Category
from efficientps_d2.data.checks.repair import repair_segments
from efficientps_d2.data.checks.tables import segments_of_classes, size_tables
from efficientps_d2.data.segments import measure_segments


def test_statistics_agree_with_a_slow_count(tmp_path):
    folder = write_dataset(tmp_path / "data", "mixed", more_classes=["tree"])
    edit_json(folder, lambda c: c["annotations"][0]["segments_info"][-1].update(iscrowd=1))
    content = json.loads((folder / "panoptic.json").read_text())
    kinds = {c["id"]: c["isthing"] for c in content["categories"]}
    counts = {id_: [0, 0, 0] for id_ in kinds}
    sizes, stuff, most, void = [], [], 0, 0
    for annotation in content["annotations"]:
        pan_seg = rgb2id(np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])))
        void += int((pan_seg == 0).sum())
        things = 0
        for segment in annotation["segments_info"]:
            ys, xs = np.nonzero(pan_seg == segment["id"])
            counts[segment["category_id"]][1] += 1
            counts[segment["category_id"]][2] += len(ys)
            if not kinds[segment["category_id"]]:
                stuff.append(len(ys))
            elif not segment["iscrowd"]:
                things += 1
                sizes.append(np.sqrt((np.ptp(ys) + 1) * (np.ptp(xs) + 1)))
        most = max(most, things)
        for id_ in {s["category_id"] for s in annotation["segments_info"]}:
            counts[id_][0] += 1
    listing, (*_, statistics) = check(folder)
    assert statistics.classes == {id_: count for id_, count in counts.items() if any(count)}
    assert (statistics.void, statistics.pixels) == (void, 3 * 96 * 160)
    assert sorted(statistics.things[:, 0]) == pytest.approx(sorted(sizes))
    assert (statistics.things[:, 1:] == (96, 160)).all()
    assert sorted(statistics.stuff) == sorted(stuff)
    assert statistics.images[:, 2].max() == most
    table = segments_of_classes(listing, statistics)
    rows = {line.split()[0]: line.split() for line in table.splitlines() if line}
    names = {c["name"]: c["id"] for c in content["categories"]}
    assert f"Classes without a segment: {', '.join(n for n in names if n not in rows)}." in table
    for name, id_ in names.items():
        if not any(counts[id_]):
            continue
        assert rows[name][2:5] == [str(n) for n in counts[id_]]
        assert rows[name][5] == f"{counts[id_][2] / statistics.pixels:.2%}"
    assert rows["void"][1:] == [str(void), f"{void / statistics.pixels:.2%}"]


def test_sizes_against_anchors(tmp_path):
    """Things of 10, 20 and 40 px, doubled by the config, against anchors of 32 and 64."""
    folder = write_dataset(tmp_path / "data", count=1)
    pan_seg = np.ones((96, 160), dtype=int)
    for i, size in enumerate((10, 20, 40)):
        pan_seg[:size, 50 * i : 50 * i + size] = 2 + i
    Image.fromarray(id2rgb(pan_seg)).save(folder / GROUND_TRUTH)
    segments = [
        {"id": i, "category_id": 26 if i == 1 else 103, "area": int((pan_seg == i).sum())}
        for i in range(1, 5)
    ]
    edit_json(folder, lambda c: c["annotations"][0].update(segments_info=segments))
    config = tmp_path / "config.yaml"
    config.write_text(
        "MODEL: {ANCHOR_GENERATOR: {SIZES: [[32], [64]]}, RPN: {IN_FEATURES: [p2, p3]}}\n"
        "INPUT: {MIN_SIZE_TRAIN: [96], MAX_SIZE_TRAIN: 320, SCALE_JITTER: [1.5, 2.5]}\n"
    )
    tables = size_tables(check(folder)[1].statistics, load_config(str(config)), config.name)
    rows = [line.split() for line in tables.splitlines()]
    assert ["share", "of", "things", "33.3%", "33.3%", "33.3%"] in rows
    quantiles = {row[0]: row[-1] for row in rows if row and row[0] in ("as", "resized")}
    assert quantiles == {"as": "40", "resized": "80"}


@settings(max_examples=60)
@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements={
    "min_value": 0, "max_value": 4}))  # fmt: skip
def test_measured_segments(pan_seg):
    segments = measure_segments(pan_seg)
    assert segments.ids.tolist() == sorted(set(pan_seg.ravel().tolist()))
    for id_, area, box in zip(*segments, strict=True):
        ys, xs = np.nonzero(pan_seg == id_)
        assert area == len(ys)
        assert box.tolist() == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]


@settings(max_examples=60)
@given(
    hnp.arrays(np.int32, (5, 6), elements={"min_value": 0, "max_value": 7}),
    st.permutations(range(1, 8)),
    st.integers(0, 7),
)
def test_repaired_segments(pan_seg, ids, count):
    """Each pixel keeps its class if it had one; ids are unique, stuff has one segment a class."""
    categories = {1: Category("road", False), 2: Category("sky", False), 3: Category("car", True)}
    segments = [{"id": id_, "category_id": 1 + id_ % 3} for id_ in ids[:count]]
    classes = np.zeros(8, dtype=int)
    for segment in segments:
        classes[segment["id"]] = segment["category_id"]
    new, repaired = repair_segments(pan_seg, segments, categories)
    new_classes = np.zeros(8, dtype=int)
    for segment in repaired:
        new_classes[segment["id"]] = segment["category_id"]
        mask = new == segment["id"]
        ys, xs = np.nonzero(mask)
        assert segment["area"] == len(ys) > 0 and segment["iscrowd"] == 0
        assert segment["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        if segment["category_id"] == 3:
            assert (mask == (pan_seg == segment["id"])).all(), "things stay as they are"
    assert (new_classes[new] == classes[pan_seg]).all()
    stuff = [s["category_id"] for s in repaired if s["category_id"] != 3]
    assert len(set(stuff)) == len(stuff)
    assert set(np.unique(new)) - {0} == {s["id"] for s in repaired}
