"""Pascal VOC masks and the layout of Cityscapes: ids of pixels instead of shapes."""

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import name2label
from import_sources import SIZE, box, import_all, write_cityscapes, write_voc
from PIL import Image

import efficientps_d2.data.importers.voc as import_voc

ROAD, SKY, CAR, BORDER = 1, 2, 3, 4  # numbers of VOC_COLORS; the last is Pascal's border


@pytest.fixture
def voc_maps():
    classes = np.full(SIZE, ROAD)
    classes[:4] = SKY
    classes[5:9, 2:6] = classes[5:9, 8:12] = CAR
    classes[4] = 0
    objects = np.zeros(SIZE, dtype=int)
    objects[:4] = 1  # CVAT numbers stuff, too
    objects[5:9, 2:6] = 2
    objects[5:9, 8:12] = 3
    return classes, objects


@pytest.mark.parametrize("palette", [True, False])
def test_voc_colours_with_and_without_palette(tmp_path, voc_maps, palette, capsys):
    classes, objects = voc_maps
    classes[9, 2:12] = BORDER
    write_voc(tmp_path / "source", classes, objects, palette)
    gt = import_all("voc-mask", tmp_path / "source")["a"]
    names = np.array(["", "road", "sky", "car", ""])
    assert (gt.classes == names[classes]).all()
    assert len(gt.objects("sky")) == 1
    first, second = gt.objects("car")
    assert (first == box(2, 5, 6, 9)).all() and (second == box(8, 5, 12, 9)).all()
    assert "Warning: pixels" not in capsys.readouterr().out


def test_voc_object_is_what_most_of_it_is(tmp_path, voc_maps):
    """Stray class pixels in an object do not tear it, and stuff keeps what no object covers."""
    classes, objects = voc_maps
    classes[5, 2:6] = ROAD
    write_voc(tmp_path / "source", classes, objects)
    gt = import_all("voc-mask", tmp_path / "source")["a"]
    assert (gt.objects("car")[0] == box(2, 5, 6, 9)).all()
    assert not gt.objects("road")[0][5:9, 2:6].any() and gt.classes[11, 0] == "road"


def test_voc_object_of_two_classes(tmp_path, voc_maps):
    """The larger part decides, whichever colour is greater: a car's is greater than a road's."""
    classes, objects = voc_maps
    classes[5:8, 2:6] = ROAD
    objects[5:9, 8:12] = BORDER  # any colour but black is an object
    classes[5, 8:12] = SKY
    write_voc(tmp_path / "source", classes, objects)
    gt = import_all("voc-mask", tmp_path / "source")["a"]
    (car,), crowds = (
        [s for s in gt.segments if s["name"] == "car" and s["iscrowd"] == i] for i in (0, 1)
    )
    assert (gt.ids == car["id"]).tolist() == box(8, 5, 12, 9).tolist()
    assert [s["area"] for s in crowds] == [4], "of what is a road for the most part"


def test_voc_thing_pixels_without_object_are_crowds(tmp_path, voc_maps, capsys):
    classes, objects = voc_maps
    objects[objects == 3] = 0
    write_voc(tmp_path / "source", classes, objects)
    gt = import_all("voc-mask", tmp_path / "source")["a"]
    crowds = [s for s in gt.segments if s["iscrowd"]]
    assert [(s["name"], s["area"]) for s in crowds] == [("car", 16)]
    assert "outside all objects were taken as crowds: 1" in capsys.readouterr().out


def test_voc_objects_may_lie_in_pieces(tmp_path, voc_maps):
    classes, objects = voc_maps
    objects[objects == 3] = 2
    write_voc(tmp_path / "source", classes, objects)
    (car,) = import_all("voc-mask", tmp_path / "source")["a"].objects("car")
    assert (car == box(2, 5, 6, 9) | box(8, 5, 12, 9)).all()


def test_voc_photo_as_objects_is_read_once(tmp_path, monkeypatch):
    """It has nearly as many colours as pixels; a look at all pixels for each would take minutes."""
    size = (60, 60)
    write_voc(tmp_path / "source", np.full(size, CAR), np.zeros(size, dtype=int))
    colors = np.arange(1, 3601, dtype=np.uint32).reshape(size)
    photo = np.stack([colors >> 8 * i & 255 for i in range(3)], axis=-1).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "source" / "SegmentationObject" / "a.png")
    compared = []
    monkeypatch.setattr(import_voc, "crop", lambda mask: compared.append(mask))
    gt = import_all("voc-mask", tmp_path / "source")["a"]
    assert len(gt.segments) == 3600 and not compared


def test_cityscapes_ids(tmp_path):
    """Objects have label * 1000 + number; bare labels are stuff, or crowds of things."""
    ids = np.full(SIZE, name2label["road"].id)
    ids[:4] = name2label["sky"].id
    ids[0, :3] = name2label["ego vehicle"].id
    car = name2label["car"].id
    ids[5:8, 0:3], ids[5:8, 4:7], ids[5:8, 9:12] = car * 1000, car * 1000 + 1, car
    ids[10, 5:8] = name2label["traffic light"].id
    write_cityscapes(tmp_path / "source", ids)
    gts = import_all("cityscapes", tmp_path / "source", stuff="road,sky,traffic light")
    gt = gts["a_leftImg8bit"]
    told = sorted((s["name"], s["area"], s["iscrowd"]) for s in gt.segments)
    cars = [("car", 9, 0), ("car", 9, 0), ("car", 9, 1)]
    assert told == [*cars, ("road", 98, 0), ("sky", 61, 0), ("traffic light", 3, 0)]
    assert (gt.classes[0, :3] == "").all()


@pytest.mark.parametrize(
    "names", [["background", "car", "side walk", "sky"], ["car", "side walk", "sky"]]
)
def test_cityscapes_export_of_cvat(tmp_path, names):
    """Ids count the lines of label_colors.txt, after a background that may not be listed."""
    ids = np.zeros(SIZE, dtype=int)
    ids[:4], ids[6:], ids[7:9, 2:4], ids[7:9, 6:8], ids[11] = 3007, 2001, 1001, 1002, 2005
    write_cityscapes(tmp_path / "source", ids, "imgsFine/leftImg8bit", names)
    if len(names) == 3:
        file = tmp_path / "source" / "label_colors.txt"
        file.write_text(file.read_text().replace("0 0 0 car", "9 9 9 car"))
    gts = import_all("cityscapes", tmp_path / "source", stuff="side walk,sky")
    gt = gts["a_leftImg8bit"]
    told = sorted((s["name"], s["area"], s["iscrowd"]) for s in gt.segments)
    assert told == [("car", 4, 0), ("car", 4, 0), ("side walk", 88, 0), ("sky", 64, 0)]


def test_cityscapes_exports_in_folders_of_their_own(tmp_path, capsys):
    """Each has its own table; one in the root serves all that have none."""
    source = tmp_path / "source"
    tables = {"task_1": ["background", "car", "road"], "task_2": ["background", "road", "car"]}
    for task, names in tables.items():
        ids = np.full(SIZE, 1001)
        write_cityscapes(source / task, ids, "imgsFine/leftImg8bit", names)
    gts = import_all("cityscapes", source)
    told = [[s["name"] for s in gt.segments] for gt in gts.values()]
    assert sorted(told) == [["car"], ["road"]]
    (source / "task_1" / "label_colors.txt").rename(source / "label_colors.txt")
    (source.parent / "mine").rename(source.parent / "before")
    gts = import_all("cityscapes", source)
    assert sorted(s["name"] for t in gts.values() for s in t.segments) == ["car", "road"]
    assert "Cityscapes' own" not in capsys.readouterr().out


def test_cityscapes_own_labels_are_told(tmp_path, capsys):
    write_cityscapes(tmp_path / "source", np.full(SIZE, name2label["road"].id))
    import_all("cityscapes", tmp_path / "source")
    assert "ids were read as those of Cityscapes' own labels: 1 (gtFine)" in capsys.readouterr().out
