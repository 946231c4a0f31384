"""CVAT for images 1.1: shapes, order, groups, masks, crowds."""

import numpy as np
import pytest
from import_sources import SIZE, box, import_all, write_cvat, write_image

ROAD = '<polygon label="road" points="0,6;16,6;16,12;0,12" z_order="-1"/>'


def polygon(label, left, top, right, bottom, more="", inside=""):
    points = f"{left}.00,{top}.00;{right}.00,{top}.00;{right}.00,{bottom}.00;{left}.00,{bottom}.00"
    return f'<polygon label="{label}" occluded="0" points="{points}" {more}>{inside}</polygon>'


def test_z_order_comes_before_list_order(tmp_path):
    shapes = [
        polygon("car", 0, 0, 6, 6, 'z_order="2"'),
        polygon("car", 2, 2, 8, 8, 'z_order="10"'),  # a number: 10 is above 2
        polygon("person", 4, 4, 10, 10, 'z_order="2"'),
        ROAD,
    ]
    write_cvat(tmp_path / "source", "\n".join(shapes))
    gt = import_all("cvat", tmp_path / "source")["a"]
    expected = np.full(SIZE, "", dtype="U20")
    expected[6:] = "road"
    expected[0:6, 0:6] = "car"
    expected[4:10, 4:10] = "person"
    expected[2:8, 2:8] = "car"
    assert (gt.classes == expected).all()
    assert len(gt.objects("car")) == 2


def test_groups(tmp_path):
    shapes = [
        polygon("car", 0, 0, 2, 2, 'group_id="7"'),
        polygon("car", 4, 0, 6, 2, 'group_id="7"'),
        polygon("car", 8, 0, 10, 2, 'group_id="0"'),  # 0 is no group here
        polygon("car", 12, 0, 14, 2, 'group_id="0"'),
        polygon("person", 0, 4, 2, 6, 'group_id="7"'),
    ]
    write_cvat(tmp_path / "source", "\n".join(shapes))
    gt = import_all("cvat", tmp_path / "source")["a"]
    assert sorted(int(mask.sum()) for mask in gt.objects("car")) == [4, 4, 8]
    assert len(gt.objects("person")) == 1


def test_masks_run_along_rows(tmp_path):
    mask = '<mask label="car" source="manual" rle="1, 2, 4, 1" left="3" top="5" width="4" '
    write_cvat(tmp_path / "source", mask + 'height="2" z_order="0"/>')
    gt = import_all("cvat", tmp_path / "source")["a"]
    expected = np.zeros(SIZE, dtype=bool)
    expected[5:7, 3:7] = [[0, 1, 1, 0], [0, 0, 0, 1]]
    assert (gt.objects("car")[0] == expected).all()
    assert gt.segments[0]["iscrowd"] == 0, "a brush is no crowd"


def test_turned_boxes_and_ellipses(tmp_path):
    """A quarter turn about the centre; turning is clockwise."""
    shapes = [
        '<box label="car" xtl="2" ytl="4" xbr="8" ybr="6" rotation="90"/>',
        '<ellipse label="person" cx="11" cy="6" rx="4.2" ry="1.2" rotation="45"/>',
    ]
    write_cvat(tmp_path / "source", "\n".join(shapes))
    gt = import_all("cvat", tmp_path / "source")["a"]
    assert (gt.objects("car")[0] == box(4, 2, 6, 8)).all()
    (person,) = gt.objects("person")
    assert person[8, 13] and person[3, 8] and not person[8, 8] and not person[3, 13]
    assert abs(person.sum() - np.pi * 4.2 * 1.2) < 2


def test_crowds_are_one_segment_of_a_class(tmp_path):
    crowd = '<attribute name="is_crowd">true</attribute>'
    shapes = [
        polygon("car", 0, 0, 2, 2, inside=crowd),
        polygon("car", 4, 0, 6, 2, 'group_id="3"', inside=crowd),
        polygon("car", 8, 0, 10, 2, inside='<attribute name="is_crowd">false</attribute>'),
        polygon("road", 0, 4, 2, 6, inside=crowd),
    ]
    write_cvat(tmp_path / "source", "\n".join(shapes))
    gt = import_all("cvat", tmp_path / "source")["a"]
    told = sorted((s["name"], s["area"], s["iscrowd"]) for s in gt.segments)
    assert told == [("car", 4, 0), ("car", 8, 1), ("road", 4, 0)]


def test_only_crowds_is_a_warning(tmp_path, capsys):
    crowd = '<attribute name="is_crowd">true</attribute>'
    write_cvat(tmp_path / "source", polygon("car", 0, 0, 2, 2, inside=crowd))
    import_all("cvat", tmp_path / "source")
    assert "only as crowds, so no object can be learned of them: 1 (car)" in capsys.readouterr().out


@pytest.mark.parametrize("tag", ["polyline", "points", "cuboid"])
def test_shapes_of_other_types(tmp_path, tag, capsys):
    shapes = f'{ROAD}<{tag} label="car" points="1,1;9,9"/><tag label="car"/>'
    write_cvat(tmp_path / "source", shapes)
    gt = import_all("cvat", tmp_path / "source")["a"]
    assert {s["name"] for s in gt.segments} == {"road"}
    out = capsys.readouterr().out
    assert f'"{tag}" are not read and were left out: 1' in out and '"tag"' not in out


def test_images_of_a_subset(tmp_path):
    source = tmp_path / "source"
    file = write_cvat(source, ROAD, "sub/a.png")
    (source / "images" / "train").mkdir()
    (source / "images" / "sub").rename(source / "images" / "train" / "sub")
    file.write_text(file.read_text().replace("<image ", '<image subset="train" '))
    assert list(import_all("cvat", source)) == ["a"]


def test_images_beside_the_annotations(tmp_path):
    source = tmp_path / "source"
    write_cvat(source, ROAD)
    (source / "images" / "a.png").rename(source / "a.png")
    assert list(import_all("cvat", source)) == ["a"]


@pytest.mark.parametrize("name", ["frame_000000", "cam.1_frame", "sub/frame", "sub\\frame"])
@pytest.mark.parametrize("suffix", [".PNG", ".jpg"])
def test_frames_of_a_video_task_are_named_without_suffix(tmp_path, name, suffix):
    source = tmp_path / "source"
    stem = name.replace("\\", "/")
    file = write_cvat(source, ROAD, f"{stem}{suffix}")
    file.write_text(file.read_text().replace(f'"{stem}{suffix}"', f'"{name}"'))
    (gt,) = import_all("cvat", source).values()
    assert gt.file.name == f"{stem.rpartition('/')[2]}{suffix}"


def test_a_name_with_a_dot_is_its_own_file_first(tmp_path):
    """a.png is that file, though a.png.jpg is there, too."""
    source = tmp_path / "source"
    write_cvat(source, ROAD)
    write_image(source / "images" / "a.png.jpg")
    assert list(import_all("cvat", source)) == ["a"]
