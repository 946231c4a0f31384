"""Any kind of image is read as 8-bit RGB, upright."""

import os

import numpy as np
import pytest
from PIL import Image

from efficientps_d2 import InputError
from efficientps_d2_runtime.images import _dark_images, _stacks, read_rgb, size_of

COLORS = np.random.default_rng(1).integers(0, 255, (6, 9, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", ".png"), ("RGB", ".bmp"), ("RGB", ".tif"), ("P", ".gif")]
)
def test_kinds_of_images(tmp_path, mode, suffix):
    file = tmp_path / f"image{suffix}"
    image = Image.fromarray(COLORS)
    image = image.quantize(256) if mode == "P" else image.convert(mode)
    image.save(file)
    assert np.abs(read_rgb(file).astype(int) - COLORS).max() < 16


def test_gray_cmyk_and_sixteen_bits(tmp_path):
    gray = COLORS[:, :, 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    assert (read_rgb(tmp_path / "gray.png") == gray[:, :, None]).all()
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert (read_rgb(tmp_path / "deep.png") == gray[:, :, None]).all(), "not clipped to white"
    Image.fromarray(COLORS).convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(read_rgb(tmp_path / "cmyk.tif").astype(int) - COLORS).max() < 4
    Image.fromarray(gray.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match="float.tif has 32 bits per pixel"):
        read_rgb(tmp_path / "float.tif")
    Image.fromarray(gray.astype(np.int32)).save(tmp_path / "int.tif")
    with pytest.raises(InputError, match="int.tif has 32 bits per pixel"):
        read_rgb(tmp_path / "int.tif")


def test_a_12_bit_camera_is_noticed_once(tmp_path, caplog):
    """Its values fill the lower bits of 16, of which the upper 8 are read."""
    _dark_images.cache_clear()
    _stacks.cache_clear()
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    images = {"full": values * 16, "black": values * 0, "dark": values, "next": values}
    for name, image in images.items():
        name = f"{name}.png"
        Image.fromarray(image).save(tmp_path / name)
        read_rgb(tmp_path / name)
    (record,) = caplog.records
    assert "dark.png has 16 bits but seems to use only 12" in record.message
    assert "Multiply its values by 16" in record.message


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_rotation(tmp_path, orientation, turns, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"turned{suffix}"
    Image.fromarray(COLORS).save(file, exif=exif)
    assert (read_rgb(file) == np.rot90(COLORS, turns)).all()


def test_damaged_exif_data_do_not_matter(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = 3, "a camera"
    Image.fromarray(COLORS).save(tmp_path / "good.jpg", exif=exif, quality=98)
    data = (tmp_path / "good.jpg").read_bytes()
    start, end = data.index(b"Exif"), data.index(b"a camera") + 9
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data)
        for position in rng.integers(start + 6, end, 2):
            damaged[position] = rng.integers(256)
        (tmp_path / "bad.jpg").write_bytes(damaged)
        assert sorted(read_rgb(tmp_path / "bad.jpg").shape) == [3, 6, 9]


def test_pages_that_are_not_read_are_named(tmp_path, caplog):
    """Stacks are usual in microscopy; the first one is named."""
    pages = [Image.new("RGB", (4, 3), color) for color in ("red", "green", "blue")]
    pages[0].save(tmp_path / "one.tif")
    read_rgb(tmp_path / "one.tif")
    assert not caplog.text
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    for _ in range(2):
        assert read_rgb(tmp_path / "stack.tif")[0, 0].tolist() == [255, 0, 0]
    assert caplog.text.count("stack.tif has several pages; of such files the first page is") == 1


def test_a_first_page_is_read_although_the_next_one_is_damaged(tmp_path):
    """As of a recording that was interrupted."""
    Image.new("RGB", (4, 3), "red").save(tmp_path / "cut.tif")
    content = bytearray((tmp_path / "cut.tif").read_bytes())
    first = int.from_bytes(content[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[end : end + 4] = (len(content) + 99).to_bytes(4, "little")
    (tmp_path / "cut.tif").write_bytes(content)
    assert read_rgb(tmp_path / "cut.tif")[0, 0].tolist() == [255, 0, 0]


def test_the_size_of_what_is_no_file(tmp_path):
    """A pipe would be read for ever."""
    os.mkfifo(tmp_path / "pipe.png")
    assert size_of(tmp_path / "pipe.png") is None
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a.png")
    assert size_of(tmp_path / "a.png") == (3, 4)
