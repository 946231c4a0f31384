"""What the check says of images that are turned when they are read, or hold more than 8 bits."""

import cv2
import numpy as np
import pytest
from checker import IMAGE, check, edit_json, run, turn
from PIL import Image
from scenes import write_dataset

from efficientps_d2_runtime.images import read_rgb

SQUARE = (64, 64)


def found(folder, kind):
    return [p for p in check(folder)[1].problems if p.kind == kind]


@pytest.mark.parametrize(
    ("orientation", "size", "says"),
    [
        (1, (96, 160), None),
        (2, (96, 160), "if its ground truth was drawn"),
        (3, (96, 160), "if its ground truth was drawn"),
        (6, (96, 160), "has the size of the stored pixels: add --stored-pixels"),
        (6, SQUARE, "if its ground truth was drawn"),
        (9, (96, 160), None),
    ],
)
def test_orientation_of_which_the_ground_truth_does_not_know(tmp_path, orientation, size, says):
    folder = write_dataset(tmp_path / "data", size=size)
    turn(orientation)(folder)
    problems = found(folder, "EXIF orientation")
    assert len(problems) == (says is not None)
    assert all(says in p.text and "--fix for a copy without the tag" in p.text for p in problems)
    assert all(p.file.endswith(IMAGE) for p in problems)
    assert len(found(folder, "size mismatch")) == int(orientation == 6 and size != SQUARE)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_images_of_which_the_stored_pixels_are_meant(tmp_path, capsys, orientation, suffix):
    folder = write_dataset(tmp_path / "data")
    pixels = np.asarray(Image.open(folder / IMAGE))
    image = (folder / IMAGE).with_suffix(f".{suffix}")
    (folder / IMAGE).unlink()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(image, exif=exif)
    edit_json(
        folder, lambda c: c["images"][0].update(file_name=str(image.relative_to(folder / "images")))
    )
    arguments = ["--stored-pixels", "--fix", tmp_path / "fixed"]
    assert run(folder, *arguments) == 1 and "orientation to ignore" in capsys.readouterr().out
    fixed = next((tmp_path / "fixed").rglob(image.name))
    assert (read_rgb(fixed) == pixels).all()
    assert not check(tmp_path / "fixed")[1].problems


def test_a_ground_truth_of_the_upright_image_is_sound(tmp_path):
    folder = write_dataset(tmp_path / "data")
    image = Image.open(folder / IMAGE).transpose(Image.Transpose.ROTATE_90)
    image.save(folder / IMAGE)
    turn(6)(folder)
    assert not check(folder)[1].problems


def write_deep(folder, name, values, channels):
    """Write 16 bits per channel; Pillow cannot write RGB of 16 bits, OpenCV can."""
    pixels = np.resize(np.asarray(values, dtype=np.uint16), (96, 160, channels)).squeeze()
    cv2.imwrite(str(folder / "images" / name), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("largest", "says"),
    [
        (255, "below 256: they seem to hold 8 bits"),
        (1023, "below 1024: they seem to hold 10 bits"),
        (4095, "below 4096: they seem to hold 12 bits, of which reading keeps the upper 4; "),
        (16383, "below 16384: they seem to hold 14 bits"),
        (16384, None),
    ],
)
def test_values_of_cameras_of_fewer_bits(tmp_path, channels, largest, says):
    """Of all images together: one alone may be dark."""
    folder = write_dataset(tmp_path / "data")
    write_deep(folder, "sub/picture.1.png", [0, largest], channels)
    assert len(found(folder, "image of 16 bits")) == 1
    problems = found(folder, "values of fewer bits")
    assert len(problems) == (says is not None)
    assert all(says in p.text and "magick mogrify -evaluate multiply" in p.text for p in problems)
    assert all(p.file.endswith("picture.1.png") for p in problems)


def test_one_bright_image_shows_that_all_bits_are_used(tmp_path):
    folder = write_dataset(tmp_path / "data", count=4)
    write_deep(folder, "sub/picture.1.png", [0, 4095], 1)
    write_deep(folder, "sub/picture.3.png", [0, 65535], 1)
    assert len(found(folder, "image of 16 bits")) == 2
    assert not found(folder, "values of fewer bits")


def test_each_unused_class_is_named(tmp_path):
    folder = write_dataset(tmp_path / "data", more_classes=["lane", "tram*"])
    texts = [p.text for p in found(folder, "class without segments")]
    assert [text.partition(":")[0] for text in texts] == [
        "no image holds a segment of tram",
        "no image holds a segment of lane",
    ]
