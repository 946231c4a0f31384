"""Datumaro 1.0: shapes, order, groups, and masks that are no crowds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_sources import SIZE, box, datumaro_shape, import_all, write_datumaro
from pycocotools import mask as coco_mask

from efficientps_d2.data.importers.regions import coco_runs, runs_to_mask

ROAD, SKY, CAR, TREE = range(4)  # label ids


def polygon(label, left, top, right, bottom, **more):
    points = [left, top, right, top, right, bottom, left, bottom]
    return datumaro_shape("polygon", label, points=[float(p) for p in points], **more)


def rle(mask, compressed=True):
    if compressed:
        counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    else:
        flat = mask.ravel(order="F")
        changes = np.flatnonzero(np.diff(flat.astype(int), prepend=0, append=1 - int(flat[-1])))
        counts = np.diff(changes, prepend=0).tolist()
    return {"counts": counts, "size": list(mask.shape)}


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_are_those_of_pycocotools(height, width, seed, density):
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((height, width)) < density, 3, axis=0)
    runs = coco_runs(rle(mask)["counts"], "x")
    assert (runs_to_mask(runs, mask.shape, "F", "x") == mask).all()


def test_z_order_groups_and_shapes(tmp_path):
    annotations = [
        polygon(TREE, 14, 4, 16, 6, z_order=9),
        polygon(CAR, 0, 0, 6, 6, z_order=2),
        polygon(ROAD, 0, 2, 16, 12, z_order=0),
        datumaro_shape("bbox", CAR, z_order=1, bbox=[4.0, 4.0, 6.0, 2.0]),
        polygon(CAR, 12, 0, 14, 2, group=4),
        polygon(CAR, 15, 0, 16, 2, group=4),
        datumaro_shape("label", CAR),
    ]
    write_datumaro(tmp_path / "source", annotations)
    gt = import_all("datumaro", tmp_path / "source")["a"]
    expected = np.full(SIZE, "", dtype="U20")
    expected[2:] = "road"
    expected[4:6, 4:10] = "car"
    expected[0:6, 0:6] = "car"
    expected[0:2, 12:14] = expected[0:2, 15:16] = "car"
    expected[4:6, 14:16] = ""
    assert (gt.classes == expected).all()
    areas = sorted(int(mask.sum()) for mask in gt.objects("car"))
    assert areas == [6, 8, 36], "the box lost what the later one covers; the group is one"


def test_ellipse_and_turned_box(tmp_path):
    turned = datumaro_shape("bbox", CAR, bbox=[2, 4, 6, 2])
    turned["attributes"]["rotation"] = 90.0
    annotations = [turned, datumaro_shape("ellipse", ROAD, points=[8.0, 2.0, 15.0, 10.0])]
    write_datumaro(tmp_path / "source", annotations)
    gt = import_all("datumaro", tmp_path / "source")["a"]
    assert (gt.objects("car")[0] == box(4, 2, 6, 8)).all()
    ys, xs = np.nonzero(gt.objects("road")[0])
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (8, 14, 2, 9)


@pytest.mark.parametrize("compressed", [True, False])
def test_masks_of_a_brush_are_no_crowds(tmp_path, compressed, capsys):
    mask = np.random.default_rng(3).random(SIZE) < 0.4
    annotation = datumaro_shape("mask", CAR, rle=rle(mask, compressed))
    annotation["attributes"]["is_crowd"] = True
    write_datumaro(tmp_path / "source", [annotation])
    gt = import_all("datumaro", tmp_path / "source")["a"]
    assert (gt.objects("car")[0] == mask).all()
    assert gt.segments[0]["iscrowd"] == 0
    assert "masks with is_crowd were taken as single objects" in capsys.readouterr().out


def test_crowd_polygons_are_crowds(tmp_path):
    annotation = polygon(CAR, 0, 0, 4, 4)
    annotation["attributes"]["is_crowd"] = True
    write_datumaro(tmp_path / "source", [annotation, polygon(CAR, 5, 5, 8, 8)])
    gt = import_all("datumaro", tmp_path / "source")["a"]
    assert sorted((s["area"], s["iscrowd"]) for s in gt.segments) == [(9, 0), (16, 1)]


def test_subsets_and_images_found_by_id(tmp_path):
    """Exports without images name no path; CVAT's subsets become images of one dataset."""
    source = tmp_path / "source"
    write_datumaro(source, [polygon(CAR, 0, 0, 4, 4)], "train", image={"path": ""})
    content = json.loads((source / "annotations" / "train.json").read_text())
    content["items"][0]["id"] = "sub/b"
    (source / "annotations" / "val.json").write_text(json.dumps(content))
    (source / "images" / "val" / "sub").mkdir(parents=True)
    data = (source / "images" / "train" / "a.jpg").read_bytes()
    (source / "images" / "val" / "sub" / "b.JPG").write_bytes(data)
    assert sorted(import_all("datumaro", source)) == ["a", "b"]
