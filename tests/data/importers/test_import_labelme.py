"""labelme: every shape type, grouping, order, and where images are found."""

import base64
import json

import numpy as np
import pytest
from import_sources import (
    SIZE,
    box,
    import_all,
    labelme_mask,
    labelme_shape,
    rectangle,
    write_image,
    write_labelme,
)
from PIL import Image
from project import Refused

ROAD = labelme_shape("road", rectangle(0, 6, 16, 12))


def test_shapes_paint_over_each_other_in_their_order(tmp_path):
    shapes = [
        labelme_shape("sky", [[16, 6], [0, 0]], "rectangle"),  # corners in any order
        ROAD,
        labelme_shape("car", rectangle(2, 4, 8, 9), "oriented_rectangle"),
        labelme_shape("car", rectangle(6, 4, 10, 9)),
        labelme_shape("road", rectangle(8, 8, 12, 12)),
    ]
    write_labelme(tmp_path / "source", shapes)
    gt = import_all("labelme", tmp_path / "source")["a"]
    expected = np.full(SIZE, "road", dtype="U20")
    expected[:6] = "sky"
    expected[4:9, 2:10] = "car"
    expected[8:, 8:12] = "road"
    assert (gt.classes == expected).all()
    first, second = gt.objects("car")
    assert (first == box(2, 4, 6, 9)).all()
    assert (second == box(6, 4, 10, 9) & ~box(8, 8, 12, 12)).all()
    assert len(gt.objects("road")) == len(gt.objects("sky")) == 1
    source = tmp_path / "source" / "a.jpg"
    assert gt.file.read_bytes() == source.read_bytes(), "not encoded again"


def test_groups_are_objects_of_one_label(tmp_path):
    shapes = [
        labelme_shape("car", rectangle(0, 0, 2, 2), group=1),
        labelme_shape("car", rectangle(4, 0, 6, 2), group=1),
        labelme_shape("car", rectangle(8, 0, 10, 2), group=0),  # 0 is a group here
        labelme_shape("car", rectangle(12, 0, 14, 2), group=0),
        labelme_shape("person", rectangle(0, 4, 2, 6), group=1),
        labelme_shape("person", rectangle(4, 4, 6, 6)),
        labelme_shape("person", rectangle(8, 4, 10, 6)),
        labelme_shape("road", rectangle(0, 8, 2, 10), group=1),
        labelme_shape("road", rectangle(4, 8, 6, 10), group=2),
    ]
    write_labelme(tmp_path / "source", shapes)
    gt = import_all("labelme", tmp_path / "source")["a"]
    cars = gt.objects("car")
    assert len(cars) == 2 and (cars[0] == box(0, 0, 2, 2) | box(4, 0, 6, 2)).all()
    assert (cars[1] == box(8, 0, 10, 2) | box(12, 0, 14, 2)).all()
    assert len(gt.objects("person")) == 3
    (road,) = gt.objects("road")
    assert (road == box(0, 8, 2, 10) | box(4, 8, 6, 10)).all()
    assert not any(segment["iscrowd"] for segment in gt.segments)


def test_circle_is_centre_and_rim(tmp_path):
    write_labelme(
        tmp_path / "source", [ROAD, labelme_shape("car", [[8, 6], [11, 8]], "circle")]
    )  # radius 3.6: no pixel centre is near the rim
    gt = import_all("labelme", tmp_path / "source")["a"]
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    assert (gt.objects("car")[0] == (np.hypot(xs - 8, ys - 6) < 13**0.5)).all()


def test_shapes_are_cut_at_the_image(tmp_path):
    shapes = [
        labelme_shape("car", rectangle(-50, -3, 4, 5)),
        labelme_shape("road", [[10, 8], [900, 900]], "rectangle"),
        labelme_shape("person", [[-100, 6], [-100 + 104.2, 6]], "circle"),
    ]
    write_labelme(tmp_path / "source", shapes)
    gt = import_all("labelme", tmp_path / "source")["a"]
    assert (gt.objects("road")[0] == box(10, 8, 16, 12)).all()
    assert (gt.objects("person")[0] == box(0, 0, 4, 12)).all()
    assert not gt.objects("car"), "covered"


@pytest.mark.parametrize(
    ("points", "left", "top", "warns"),
    [
        ([[3.6, 6.7], [5.8, 7.6]], 4, 7, False),
        ([[4.5, 6.5], [6.5, 7.5]], 4, 6, False),  # a half goes to the even number
        ([[5.5, 7.5], [7.5, 8.5]], 6, 8, False),
        ([[4.4, 7.4], [6.6, 8.6]], 4, 7, False),  # rounded each, they are a pixel too far apart
        ([[6.4, 8.4], [4.4, 7.4]], 4, 7, False),
        ([[4, 7], [9, 9]], 4, 7, True),
    ],
)
def test_masks_lie_where_labelme_shows_them(tmp_path, points, left, top, warns, capsys):
    """At the rounded upper left corner, in their own size: labelme pulls corners by fractions."""
    mask = np.ones((2, 3), dtype=bool)
    write_labelme(tmp_path / "source", [{**labelme_mask("car", mask, 4, 7), "points": points}])
    gt = import_all("labelme", tmp_path / "source")["a"]
    assert (gt.objects("car")[0] == box(left, top, left + 3, top + 2)).all()
    assert ("do not fit their size were placed" in capsys.readouterr().out) == warns


def test_mask_shape_lies_in_its_box(tmp_path):
    """Both corners are pixels of the mask, and what leaves the image is cut off."""
    mask = np.array([[1, 0, 1], [0, 1, 0]], dtype=bool)
    shapes = [ROAD, labelme_mask("car", mask, 4, 7), labelme_mask("person", mask, -1, 11)]
    write_labelme(tmp_path / "source", shapes)
    gt = import_all("labelme", tmp_path / "source")["a"]
    expected = np.zeros(SIZE, dtype=bool)
    expected[7:9, 4:7] = mask
    assert (gt.objects("car")[0] == expected).all()
    assert np.argwhere(gt.objects("person")[0]).tolist() == [[11, 1]]


@pytest.mark.parametrize("kind", ["line", "linestrip", "point", "points", "banana"])
def test_shapes_of_other_types_are_left_out(tmp_path, kind, capsys):
    shapes = [ROAD, labelme_shape("car", [[2, 2], [5, 5], [9, 2]], kind)]
    write_labelme(tmp_path / "source", shapes)
    gt = import_all("labelme", tmp_path / "source")["a"]
    assert {s["name"] for s in gt.segments} == {"road"}
    assert f'shapes of type "{kind}" are not read and were left out: 1 (a.json)' in (
        capsys.readouterr().out
    )


def test_unlisted_labels_are_counted(tmp_path, capsys):
    shapes = [ROAD] + [labelme_shape("tree", rectangle(0, 0, 16, 8))] * 3
    write_labelme(tmp_path / "source", [*shapes, labelme_shape("", rectangle(0, 0, 3, 9))])
    gt = import_all("labelme", tmp_path / "source", things="car,cat")["a"]
    assert ((gt.classes == "road") == (box(0, 8, 16, 12) & ~box(0, 8, 3, 9))).all()
    out = capsys.readouterr().out
    assert "do not list: tree (3), (no label) (1)." in out
    assert "--overwrite: 3 (car, cat, sky)" in out


def test_a_misspelt_class_is_pointed_out(tmp_path, capsys):
    shapes = [ROAD, labelme_shape("bicycle", rectangle(0, 0, 5, 5))]
    write_labelme(tmp_path / "source", shapes)
    import_all("labelme", tmp_path / "source", things="car,bycicle")
    assert "bycicle: did you mean bicycle?" in capsys.readouterr().out


def test_group_labels_are_crowds(tmp_path):
    """Cityscapes' convention: "cargroup" is a crowd, one segment for an image."""
    shapes = [
        labelme_shape("cargroup", rectangle(0, 0, 2, 2)),
        labelme_shape("cargroup", rectangle(4, 0, 6, 2)),
        labelme_shape("car", rectangle(8, 0, 10, 2)),
    ]
    write_labelme(tmp_path / "source", shapes)
    gt = import_all("labelme", tmp_path / "source")["a"]
    assert sorted((s["area"], s["iscrowd"]) for s in gt.segments) == [(4, 0), (8, 1)]


@pytest.mark.parametrize(
    ("path", "warns"),
    [
        ("..\\images\\a.jpg", False),
        ("../images/a.jpg", False),
        ("../../elsewhere/a.jpg", True),
        ("C:\\Users\\me\\a.jpg", True),
        ("/home/me/a.jpg", True),
        ("a.jpg", True),
    ],
)
def test_images_in_another_folder_are_found(tmp_path, path, warns, capsys):
    source = tmp_path / "source"
    pixels = write_image(source / "images" / "a.png")
    (source / "images" / "a.png").rename(source / "images" / "a.jpg")
    write_labelme(source, [ROAD], name="json/a.jpg", imagePath=path)
    (source / "json" / "a.jpg").unlink()
    gt = import_all("labelme", source)["a"]
    assert (gt.image == pixels).all()
    assert ("found by their names" in capsys.readouterr().out) == warns


def test_early_files_without_shape_type_and_size(tmp_path):
    shape = {"label": "car", "points": rectangle(1, 1, 4, 4)}
    file = write_labelme(tmp_path / "source", [shape])
    content = json.loads(file.read_text())
    for key in ("imageHeight", "imageWidth", "version", "flags"):
        del content[key]
    file.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    gt = import_all("labelme", tmp_path / "source")["a"]
    assert (gt.objects("car")[0] == box(1, 1, 4, 4)).all()


@pytest.mark.parametrize("path", ["gone.jpg", "/elsewhere/gone.jpg", "", None])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_images_that_only_the_json_holds(tmp_path, path, kind, capsys):
    source, suffix = tmp_path / "source", {"PNG": "png", "JPEG": "jpg"}[kind]
    write_image(tmp_path / f"kept.{suffix}")
    data = (tmp_path / f"kept.{suffix}").read_bytes()
    text = base64.b64encode(data).decode()
    write_labelme(source, [ROAD], name="a.jpg", imagePath=path, imageData=text)
    (source / "a.jpg").unlink()
    gt = import_all("labelme", source)["a"]
    assert gt.file.name == f"a.{suffix}" and gt.file.read_bytes() == data
    assert "were taken from imageData" in capsys.readouterr().out
    assert [f.name for f in source.iterdir()] == ["a.json"]


def test_the_file_beside_the_json_comes_before_its_image_data(tmp_path, capsys):
    write_labelme(tmp_path / "source", [ROAD], imagePath="gone.jpg", imageData="aGk=")
    gt = import_all("labelme", tmp_path / "source")["a"]
    assert gt.file.read_bytes() == (tmp_path / "source" / "a.jpg").read_bytes()
    assert "found by their names" in capsys.readouterr().out


def test_turned_image_data_is_written_upright(tmp_path):
    source, exif = tmp_path / "source", Image.Exif()
    exif[0x0112] = 6
    write_image(tmp_path / "kept.png", SIZE[::-1], exif=exif)
    text = base64.b64encode((tmp_path / "kept.png").read_bytes()).decode()
    write_labelme(source, [ROAD], imagePath="gone.jpg", imageData=text)
    (source / "a.jpg").unlink()
    assert import_all("labelme", source)["a"].image.shape == (*SIZE, 3)


def test_labels_with_a_comma_are_quoted(tmp_path):
    shapes = [ROAD, labelme_shape("bus, big", rectangle(0, 0, 4, 4))]
    write_labelme(tmp_path / "source", shapes)
    gt = import_all("labelme", tmp_path / "source", things='car, "bus, big", ', stuff="road")
    assert {s["name"] for s in gt["a"].segments} == {"road", "bus, big"}


def test_a_quote_that_is_not_closed_is_one_sentence(tmp_path):
    write_labelme(tmp_path / "source", [ROAD])
    with pytest.raises(Refused, match="whose quotes cannot be read .*write for instance 'car,"):
        import_all("labelme", tmp_path / "source", things='car,"bus')
