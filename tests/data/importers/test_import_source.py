"""What all importers share: which files count, what labels and boxes mean, what is printed."""

import unicodedata

import numpy as np
import pytest
from import_sources import (
    CAR,
    ROAD,
    SIZE,
    box,
    datumaro_shape,
    import_all,
    labelme_shape,
    rectangle,
    run,
    write_cityscapes,
    write_cvat,
    write_datumaro,
    write_labelme,
    write_voc,
)
from project import Refused

HIDING = box(4, 2, 10, 12)  # a tree over the road, which is the lower half


def labelme(source):
    write_labelme(source, [ROAD, labelme_shape("tree", rectangle(4, 2, 10, 12))])


def cvat(source):
    road = '<polygon label="road" points="0,6;16,6;16,12;0,12"/>'
    write_cvat(source, road + '<polygon label="tree" points="4,2;10,2;10,12;4,12"/>')


def datumaro(source):
    road = datumaro_shape("polygon", 0, points=[0, 6, 16, 6, 16, 12, 0, 12])
    tree = datumaro_shape("polygon", 3, points=[4, 2, 10, 2, 10, 12, 4, 12])
    write_datumaro(source, [road, tree])


def numbers(road: int, tree: int) -> np.ndarray:
    ids = np.zeros(SIZE, dtype=int)
    ids[6:], ids[HIDING] = road, tree
    return ids


def voc(source):
    write_voc(source, numbers(1, 3), numbers(0, 2))
    file = source / "labelmap.txt"
    file.write_text(file.read_text().replace("car", "tree"))


def cityscapes(source):
    write_cityscapes(source, numbers(1, 2001), names=["background", "road", "tree"])


@pytest.mark.parametrize(
    ("tool", "write"),
    [
        ("labelme", labelme),
        ("cvat", cvat),
        ("datumaro", datumaro),
        ("voc-mask", voc),
        ("cityscapes", cityscapes),
    ],
)
def test_unlisted_labels_become_void(tmp_path, tool, write, capsys):
    write(tmp_path / "source")
    (gt,) = import_all(tool, tmp_path / "source").values()
    assert ((gt.classes == "road") == (box(0, 6, 16, 12) & ~HIDING)).all()
    assert ((gt.ids == 0) == (gt.classes == "")).all()
    out = capsys.readouterr().out
    assert "Left void: shapes whose labels --things and --stuff do not list:" in out
    assert "tree (1)" in out


def test_files_of_the_system_are_skipped(tmp_path):
    """What macOS, Jupyter and editors put beside the files of the tool."""
    source = tmp_path / "source"
    for name in ("__MACOSX/c.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", ".b.jpg", "a.jpg"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        file = write_labelme(source, [ROAD], name=name)
        if name != "a.jpg":
            file.write_bytes(b"\0\5\x16\7")
    assert list(import_all("labelme", source)) == ["a"]


@pytest.mark.parametrize("path", ["f\u00fcnf.jpg", "C:\\me\\f\u00fcnf.jpg"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_another_form_of_unicode(tmp_path, form, path, capsys):
    """macOS may write the dots of an umlaut as a letter of their own."""
    source, other = tmp_path / "source", {"NFC": "NFD", "NFD": "NFC"}[form]
    name = unicodedata.normalize(form, "f\u00fcnf.jpg")
    write_labelme(source, [ROAD], name=name, imagePath=unicodedata.normalize(other, path))
    (gt,) = import_all("labelme", source).values()
    assert gt.file.name == name
    assert ("found by their names" in capsys.readouterr().out) == path.startswith("C:")


def test_classes_of_boxes_only_are_told(tmp_path, capsys):
    """A box among outlines is as the annotator meant it; a class of nothing else is doubtful."""
    shapes = [
        ROAD,
        CAR,
        labelme_shape("car", [[8, 1], [10, 4]], "rectangle"),
        labelme_shape("person", [[12, 1], [14, 4]], "rectangle"),
    ]
    write_labelme(tmp_path / "source", shapes)
    import_all("labelme", tmp_path / "source")
    assert "drawn only as boxes; every pixel of a box gets its class: 1 (person)" in (
        capsys.readouterr().out
    )


def test_turned_boxes_are_no_upright_ones(tmp_path, capsys):
    turned = datumaro_shape("bbox", 2, bbox=[2, 4, 6, 2])
    turned["attributes"]["rotation"] = 30.0
    write_datumaro(tmp_path / "datumaro" / "source", [turned])
    import_all("datumaro", tmp_path / "datumaro" / "source")
    write_cvat(
        tmp_path / "cvat" / "source",
        '<box label="car" xtl="2" ytl="4" xbr="8" ybr="6" rotation="30"/>',
    )
    import_all("cvat", tmp_path / "cvat" / "source")
    assert "Warning: classes are only drawn" not in capsys.readouterr().out


def test_a_single_image_is_not_held_out(tmp_path, capsys):
    write_labelme(tmp_path / "source", [ROAD, CAR])
    run("labelme", tmp_path / "source", tmp_path / "mine")
    assert "no image is held out for val, since there is only one: 1 (a)" in (
        capsys.readouterr().out
    )
    run("labelme", tmp_path / "source", tmp_path / "all", "--split", "1")
    assert "held out" not in capsys.readouterr().out


def test_what_files_tell_is_printed_as_plain_text(tmp_path, capfd):
    """Labels, places and errors may hold what colours a terminal or cannot be encoded."""
    source = tmp_path / "source"
    labels = ["a\x1b[31m\nb", "\ud800x"]
    shapes = [labelme_shape(label, rectangle(1, 1, 3, 3)) for label in labels]
    outside = labelme_shape("car", rectangle(40, 2, 44, 5), "polygon")
    odd = labelme_shape("car", [], "\x1b[31m")
    write_labelme(source, [ROAD, *shapes, outside, odd], name="p\x1b[31m.jpg")
    run("labelme", source, tmp_path / "mine", things="car,\x1b[31m")
    out = capfd.readouterr().out
    assert "a\\x1b[31m\\nb (1), \\ud800x (1)." in out and "(p\\x1b[31m.json)" in out
    assert "\x1b" not in out
    (source / "p\x1b[31m.json").write_text("{")
    with pytest.raises(Refused, match=r"p\\x1b\[31m.json is not valid JSON") as error:
        run("labelme", source, tmp_path / "other")
    assert "\x1b" not in str(error.value)


def test_long_names_do_not_hide_the_cure(tmp_path):
    write_labelme(tmp_path / "source", [ROAD], imagePath="/" + "a" * 5000)
    with pytest.raises(Refused, match="a{100}.*put the file there and name it") as error:
        import_all("labelme", tmp_path / "source")
    assert len(str(error.value)) < 600
