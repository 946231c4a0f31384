"""What the labels of each publisher mean."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw
from project import run_verb

from efficientps_d2.data.bands import read_bands
from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.data.datasets.idd import CLASS_OF
from efficientps_d2.data.datasets.kitti import TABLE
from efficientps_d2.data.datasets.prepared_files import segment_ids
from efficientps_d2.data.datasets.published import Labels
from efficientps_d2.data.datasets.scannet import CATEGORIES as SCANNET
from efficientps_d2_runtime.errors import InputError


def segments_of(folder, stem):
    """Ids of the PNG and, for each id, the name of its class and whether it is a crowd."""
    content = json.loads((folder / "panoptic.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    (found,) = [a for a in content["annotations"] if a["image_id"] == stem]
    ids = read_segment_ids(str(folder / "panoptic" / found["file_name"]))
    return ids, {s["id"]: (names[s["category_id"]], s["iscrowd"]) for s in found["segments_info"]}


def kinds(segments):
    return Counter(segments.values())


def test_kitti_groups_and_void(prepared):
    _, folder = prepared("kitti")
    ids, segments = segments_of(folder / "train", "000000_10")
    kinds_of = kinds(segments)
    assert kinds_of[("sky", 0)] == kinds_of[("road", 0)] == kinds_of[("bicycle", 1)] == 1
    assert kinds_of[("person", 0)] == 2
    assert (ids[:, -5:] == 0).all()  # a caravan has instances but is not evaluated
    stems = sorted(file.stem for file in (folder / "val" / "images").iterdir())
    assert stems == ["000004_10", "000009_10"]  # every fifth


def test_vistas_has_no_groups(prepared):
    """Objects count from 0, and labels that are not evaluated are void."""
    _, folder = prepared("vistas_v2")
    ids, segments = segments_of(folder / "train", "__CRyFzoDOXn6unQ6a3DnQ")
    assert not any(crowd for _, crowd in segments.values())
    assert (ids[:, -5:] == 0).all()
    categories = json.loads((folder / "train" / "panoptic.json").read_text())["categories"]
    assert [c["id"] for c in categories][:6] == [1, 2, 3, 4, 5, 13]  # 7 labels before it are unused


def test_idd_is_what_the_publishers_tools_make(prepared, tmp_path):
    """Polygons painted in their order and made 1280 x 720 by Pillow's nearest neighbour."""
    _, folder = prepared("idd")
    truth = tmp_path / "source" / "gtFine" / "val" / "119" / "005506_gtFine_polygons.json"
    objects = json.loads(truth.read_text())["objects"]
    painted = Image.new("I", (192, 108))
    draw = ImageDraw.Draw(painted)
    for number, shape in enumerate(objects, 1):
        if not shape.get("deleted") and len(shape["polygon"]) > 2:
            is_void = shape["label"] == "out of roi"
            draw.polygon([tuple(p) for p in shape["polygon"]], fill=0 if is_void else number)
    expected = np.asarray(painted.resize((1280, 720), Image.Resampling.NEAREST))
    ids, segments = segments_of(folder / "val", "119_005506")
    pairs = set(zip(ids.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(segments) + 1  # each segment is one polygon, and void is void
    found = kinds(segments)
    assert found[("person", 0)] == 2 and found[("rider", 1)] == 1  # animals are level 3's persons
    assert {Image.open(f).size for f in (folder / "val" / "images").iterdir()} == {(1280, 720)}


def test_scannet_walls_and_floors_are_one_segment(prepared):
    _, folder = prepared("scannet")
    ids, segments = segments_of(folder / "val", "scene0011_01__000100")
    assert ids.shape == (60, 80)  # labels of the depth camera's size
    assert kinds(segments)[("floor", 0)] == 1
    assert ids[0, 0] == 0  # a ceiling is none of the 20 classes


def test_depth_that_was_not_measured_is_no_data(prepared, capsys):
    """That is normal; an image without any depth is not."""
    _, folder = prepared("scannet_depth")
    files = sorted(folder.glob("*/images/*.tif"))
    images = [read_bands(file) for file in files]
    expected = np.zeros((30, 40), bool)
    expected[:4, :6] = True
    assert [image.shape for image in images] == [(30, 40, 4)] * 2
    assert all((np.isnan(image[:, :, 3]) == expected).all() for image in images)
    assert all(np.isfinite(image[:, :, :3]).all() for image in images)
    assert run_verb("check", folder / "train") == 0
    assert "without data" not in capsys.readouterr().out
    images[0][:, :, 3] = np.nan
    tifffile.imwrite(files[0], images[0], photometric="minisblack", planarconfig="contig")
    assert run_verb("check", folder / "train") == 0
    assert "has no data in 1 of its 4 bands" in capsys.readouterr().out


def test_pastis_seasons_and_void(prepared, tmp_path):
    _, folder = prepared("pastis")
    source = tmp_path / "source"
    series = np.load(source / "DATA_S2" / "S2_10000.npy")
    bands = np.load(folder / "fold1" / "images" / "10000.npy")
    assert bands.shape == (64, 64, 40) and bands.dtype == np.int16
    winter = np.median(series[1:3], axis=0).round().transpose(1, 2, 0)
    autumn = np.median(series[[0, 5]], axis=0).round().transpose(1, 2, 0)
    assert (bands[:, :, :10] == winter).all() and (bands[:, :, 30:] == autumn).all()
    without = np.load(folder / "fold2" / "images" / "10007.npy")
    assert np.isnan(without[:, :, 20:30]).all() and np.isfinite(without[:, :, :20]).all()

    ids, segments = segments_of(folder / "fold1", "10000")
    assert kinds(segments) == {("Background", 0): 1, ("Meadow", 0): 2, ("Sorghum", 0): 2}
    void = np.asarray(Image.open(folder / "fold1" / "void" / "10000.png"))
    assert ((void > 0) == (np.load(source / "ANNOTATIONS" / "TARGET_10000.npy")[0] == 19)).all()
    assert (ids[void > 0] == 0).all()


@given(data=st.data())
def test_segment_ids_tell_class_and_number(data):
    """Whatever a dataset labels comes back from the ids of its PNG."""
    categories = [
        {"id": i, "isthing": data.draw(st.integers(0, 1))}
        for i in data.draw(st.sets(st.integers(0, 1000), min_size=1, max_size=254))
    ]
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=6))
    classes = data.draw(arrays(np.int16, shape, elements=st.integers(-1, len(categories) - 1)))
    numbers = data.draw(arrays(np.int32, shape, elements=st.integers(0, 65535)))
    ids = segment_ids(Labels(classes, numbers), categories, Path("file"))
    is_thing = np.array([c["isthing"] for c in categories])[classes]
    assert ((ids >> 16) - 1 == classes)[classes >= 0].all() and (ids[classes < 0] == 0).all()
    assert (ids & 0xFFFF == numbers * is_thing)[classes >= 0].all()
    assert ids.max() < 2**24


def test_numbers_that_a_png_has_no_room_for():
    labels = Labels(np.zeros((2, 2), np.int16), np.array([[1, 2], [3, 65536]]))
    with pytest.raises(InputError, match="truth.png numbers an object 65536, but .* 65535; number"):
        segment_ids(labels, [{"id": 1, "isthing": 1}], Path("truth.png"))


# The level-3 class of each of the publisher's 40 labels.
LEVEL_3 = {
    **{"road": 0, "parking": 1, "drivable fallback": 1, "sidewalk": 2, "rail track": 3},
    **{"non-drivable fallback": 3, "person": 4, "animal": 4, "rider": 5, "motorcycle": 6},
    **{"bicycle": 7, "autorickshaw": 8, "car": 9, "truck": 10, "bus": 11, "caravan": 12},
    **{"trailer": 12, "train": 12, "vehicle fallback": 12, "curb": 13, "wall": 14, "fence": 15},
    **{"guard rail": 16, "billboard": 17, "traffic sign": 18, "traffic light": 19, "pole": 20},
    **{"polegroup": 20, "obs-str-bar-fallback": 21, "building": 22, "bridge": 23, "tunnel": 23},
    **{"vegetation": 24, "sky": 25, "fallback background": 25, "unlabeled": -1},
    **{"ego vehicle": -1, "rectification border": -1, "out of roi": -1, "license plate": -1},
}


def test_labels_of_idd_are_those_of_the_publisher():
    assert CLASS_OF == LEVEL_3 and len(LEVEL_3) == 40


def test_labels_of_cityscapes_in_kitti_are_its_training_ids():
    expected = {x.id: -1 if x.trainId in (255, -1) else x.trainId for x in cityscapes_labels}
    assert {i: int(TABLE[i]) for i in range(34)} == {i: expected[i] for i in range(34)}


def test_scannet_has_18_things_and_2_kinds_of_stuff():
    ids = [*range(1, 13), 14, 16, 24, 28, 33, 34, 36, 39]
    assert [category["id"] for category in SCANNET] == ids
    assert [c["name"] for c in SCANNET if not c["isthing"]] == ["wall", "floor"]
