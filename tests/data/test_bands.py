"""Images of any number of bands: their files, resizing, augmentation and drawing."""

import logging
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from efficientps_d2.data.augmentation import BandJitter
from efficientps_d2.data.bands import bands_of_array, image_tensor, read_bands, show
from efficientps_d2.utils.resizing import resize_bands
from efficientps_d2_runtime.errors import InputError

TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize("dtype", TYPES)
@settings(max_examples=10)
@given(data=st.data())
def test_bands_come_back_from_both_orders(tmp_path_factory, suffix, dtype, data):
    height, width = data.draw(st.integers(9, 12)), data.draw(st.integers(9, 12))
    bands = data.draw(st.integers(2, 8))
    low, high = (0, 250) if dtype is np.uint8 else (0, 3000)
    pixels = data.draw(arrays(dtype, (height, width, bands), elements=st.integers(low, high)))
    folder = tmp_path_factory.mktemp("bands")
    orders = {"contig": pixels, "separate": pixels.transpose(2, 0, 1)}
    for planar, array in orders.items():
        file = folder / f"{planar}{suffix}"
        if suffix == ".npy":
            np.save(file, array)
        else:
            tifffile.imwrite(file, array, photometric="minisblack", planarconfig=planar)
        found = read_bands(file)
        assert found.dtype == np.float32 and (found == pixels).all()


def test_photographs_have_the_bands_of_their_files(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 255, (8, 9, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(rgba[:, :, 0].astype(np.uint16) * 200).save(tmp_path / "b.png")
    Image.fromarray(rgba[:, :, :3]).convert("P").save(tmp_path / "c.png")
    tifffile.imwrite(tmp_path / "pages.tif", rgba.transpose(2, 0, 1)[:, None].repeat(3, 1)[:, 0])
    assert (read_bands(tmp_path / "a.png") == rgba).all()
    assert (read_bands(tmp_path / "b.png")[:, :, 0] == 200.0 * rgba[:, :, 0]).all()
    assert read_bands(tmp_path / "c.png").shape == (8, 9, 3)
    assert (read_bands(tmp_path / "pages.tif") == rgba).all()


def test_no_data_is_nan(tmp_path):
    pixels = np.full((8, 9, 4), 5, np.int16)
    pixels[2, 3, 1] = -9999
    tag = (42113, "s", 0, "-9999", False)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extratags=[tag])
    found = read_bands(tmp_path / "a.tif")
    assert np.argwhere(np.isnan(found)).tolist() == [[2, 3, 1]]
    np.save(tmp_path / "b.npy", np.where(pixels < 0, np.inf, pixels))
    assert np.argwhere(np.isnan(read_bands(tmp_path / "b.npy"))).tolist() == [[2, 3, 1]]


@pytest.mark.parametrize(
    "array, sentence",
    [
        (np.zeros((2, 3, 4, 5)), "has the shape .2, 3, 4, 5.; store .height, width, bands."),
        (np.zeros(7), "has the shape"),
        (np.zeros((0, 3, 2)), "has the shape"),
        (np.zeros((9, 9, 2), complex), "holds values of type complex128; store numbers"),
        (np.full((9, 9), "x"), "holds values of type <U1; store numbers"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, sentence):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=f"a.npy {sentence}"):
        read_bands(tmp_path / "a.npy")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_bands(tmp_path / "a.npy")


@settings(max_examples=25)
@given(data=st.data())
def test_resizing_is_that_of_pillow_for_each_band(data):
    shape = data.draw(array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=12))
    image = data.draw(arrays(np.float32, shape, elements=st.floats(-100, 100, width=32)))
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    found = resize_bands(image, (height, width))
    for band in range(shape[2]):
        expected = Image.fromarray(image[:, :, band]).resize((width, height), Image.BILINEAR)
        assert np.allclose(found[:, :, band], np.asarray(expected), atol=1e-3)


def test_pixels_without_data_do_not_spread_or_pull():
    image = np.full((20, 30, 2), 7, np.float32)
    image[5:7, 5:7, 0] = np.nan
    image[:, 15:, 1] = np.nan
    found = resize_bands(image, (10, 15))
    assert np.allclose(found[np.isfinite(found)], 7)
    assert np.isnan(found[:, 8:, 1]).all() and np.isfinite(found[:, :7, 1]).all()
    enlarged = resize_bands(image, (40, 60))
    assert np.isnan(enlarged[:, :, 0]).sum() == 16
    tensor = image_tensor(enlarged, [3.0, 4.0])
    assert tensor[0].unique().tolist() == [3, 7] and tensor[1].unique().tolist() == [4, 7]


def test_jitter_changes_all_bands_alike_and_no_ground_truth():
    image = np.random.default_rng(0).normal(5, 2, (6, 7, 4)).astype(np.float32)
    transform = BandJitter([5.0] * 4, [2.0] * 4).get_transform(image)
    changed = transform.apply_image(image)
    slope = (changed[1:] - changed[:-1]) / (image[1:] - image[:-1])
    assert changed.dtype == np.float32 and np.allclose(slope, slope[0, 0, 0], rtol=1e-3)
    assert not np.allclose(changed, image)
    labels = np.arange(6)
    assert transform.apply_segmentation(labels) is labels


def test_drawing_stretches_each_band_and_leaves_holes_black():
    image = np.linspace(-500, 9000, 400, dtype=np.float32).reshape(20, 20, 1)
    image = np.dstack([image, -image, np.full_like(image, 3)])
    image[0, 0] = np.nan
    drawn = show(image, (0, 1, 9))
    assert drawn.dtype == np.uint8 and drawn.shape == (20, 20, 3)
    assert drawn[-1, -1, 0] == 255 and drawn[-1, -1, 1] == 0 and (drawn[0, 0] == 0).all()


def test_16_bits_of_colours_are_kept(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (5, 6, 4), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, [2, 1, 0, 3]])
    cv2.imwrite(str(tmp_path / "b.png"), pixels[:, :, [2, 1, 0]])
    assert (read_bands(tmp_path / "a.png") == pixels).all()
    assert (read_bands(tmp_path / "b.png") == pixels[:, :, :3]).all()


def write_grey_and_alpha(file, pixels):
    """A PNG of (H, W, 2) uint16, which neither Pillow nor OpenCV writes."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    size = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 4, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    file.write_bytes(content)


def test_16_bits_of_grey_and_alpha_are_two_bands(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (5, 6, 2), dtype=np.uint16)
    write_grey_and_alpha(tmp_path / "a.png", pixels)
    found = read_bands(tmp_path / "a.png")
    assert found.shape == pixels.shape and (found == pixels).all()


def test_what_opencv_cannot_read_is_named(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 6, 3), np.uint16))
    monkeypatch.setattr(cv2, "imread", lambda *_: None)
    with pytest.raises(InputError, match="a.png has 16 bits and cannot be read by OpenCV; save"):
        read_bands(tmp_path / "a.png")


@pytest.mark.parametrize("text", ["nan", "-3.4e38"])
def test_no_data_of_another_type_is_no_line_of_the_log(tmp_path, caplog, text):
    """GDAL writes it, and tifffile would say so of each file that is read."""
    tag = (42113, "s", 0, text, False)
    pixels = np.full((8, 9, 4), 5, np.int16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extratags=[tag])
    assert (read_bands(tmp_path / "a.tif") == 5).all()
    assert not caplog.records
    logging.getLogger("tifffile").warning("of others")
    assert len(caplog.records) == 1


def test_a_known_number_of_bands_keeps_its_axis():
    image = np.zeros((4, 9, 7), np.int16)
    assert bands_of_array(image, "An image").shape == (9, 7, 4)
    assert bands_of_array(image, "An image", count=7).shape == (4, 9, 7)
    assert bands_of_array(image, "An image", count=4).shape == (9, 7, 4)


def test_files_of_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((4, 4)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(InputError, match="a.npy holds several arrays; store one"):
        read_bands(tmp_path / "a.npy")
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for dtype in (np.uint8, np.uint8, np.float32):
            tiff.write(np.zeros((20, 20), dtype))
    with pytest.raises(InputError, match="a.tif has pages of one size but different types"):
        read_bands(tmp_path / "a.tif")
