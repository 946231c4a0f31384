"""Laser scans: their files, their range images, and the way back to points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2.data.augmentation import _Turned
from efficientps_d2.data.bands import read_bands
from efficientps_d2.data.datasets.published import UNKNOWN, Frame
from efficientps_d2.data.datasets.semantic_kitti import RAW_IDS, TABLE, read_labels
from efficientps_d2.data.lidar.back_to_points import labels_of_points
from efficientps_d2.data.lidar.projection import HEIGHT, WIDTH, project
from efficientps_d2.data.lidar.scans import write_point_labels
from efficientps_d2.data.streets.lidar import scan_street
from efficientps_d2_runtime.errors import InputError


@pytest.fixture(scope="module")
def street():
    return scan_street(np.random.default_rng(0))


def at(pitch: float, yaw: float, distance: float) -> list[float]:
    """A point in degrees up and to the left."""
    up, left = np.radians([pitch, yaw])
    x, y = np.cos(up) * np.cos(left), np.cos(up) * np.sin(left)
    return [distance * x, distance * y, distance * np.sin(up), 0.5]


def test_where_points_are_in_a_range_image():
    """Straight ahead is in the middle, the left side left of it; the field ends at 3 and -25."""
    points = np.array(
        [at(-11, 0.01, 5), at(-11, 89.99, 6), at(-11, -89.99, 7), at(40, 179.9, 8), at(-60, 0, 9)],
        dtype=np.float32,
    )
    scan = project(points)
    assert scan.columns.tolist() == [1023, 512, 1535, 0, 1024]
    assert scan.rows.tolist() == [32, 32, 32, 0, 63]
    assert np.allclose(scan.image[32, 1023], [5, *points[0, :3], 0.5], atol=1e-5)
    assert np.isfinite(scan.image[:, :, 0]).sum() == len(points)


def test_the_nearest_point_of_a_pixel_is_seen_and_the_first_is_not_lost():
    points = np.array([at(0, 10, 20), at(0, 10, 5), at(0, 50, 7)], dtype=np.float32)
    scan = project(points)
    assert scan.points[scan.rows[0], scan.columns[0]] == 1
    alone = project(points[:1])
    assert alone.points.max() == 0 and (alone.points == 0).sum() == 1


@settings(max_examples=10)
@given(columns=st.integers(0, WIDTH - 1), mirrored=st.booleans())
def test_turned_range_images_are_those_of_turned_scans(street, columns, mirrored):
    points = street[0]
    angle = -2 * np.pi * columns / WIDTH
    cos, sin = np.cos(angle), np.sin(angle)
    turned = points.astype(np.float64)
    turned[:, 0] = points[:, 0] * cos - points[:, 1] * sin
    turned[:, 1] = points[:, 0] * sin + points[:, 1] * cos
    turned[:, 1] *= -1 if mirrored else 1
    found = _Turned(columns, mirrored).apply_image(project(points).image)
    expected = project(turned.astype(np.float32)).image
    both = np.isfinite(found[:, :, 0]) & np.isfinite(expected[:, :, 0])
    same = np.isclose(found, expected, atol=1e-3).all(axis=2)
    assert both.mean() > 0.8 and (same & both).sum() > 0.97 * both.sum()  # but for edges of pixels


def test_points_get_back_what_the_image_says_of_them(street):
    points, labels = street
    scan = project(points)
    ids = np.where(scan.points >= 0, labels.astype(np.int64)[scan.points], 0)
    assert (labels_of_points(ids, scan) == labels).mean() > 0.99


def test_a_hidden_point_asks_its_neighbours_in_range():
    """A wall at 20 m behind a pole at 5 m: the pixel is the pole's, the point is the wall's."""
    wall = [at(0, yaw, 20) for yaw in np.arange(-3, 3, 360 / WIDTH)]
    pole = [at(0, 0.05, 5)]
    points = np.array(wall + pole, dtype=np.float32)
    scan = project(points)
    ids = np.zeros((HEIGHT, WIDTH), np.int64)
    ids[scan.points >= 0] = 1
    ids[scan.rows[-1], scan.columns[-1]] = 2
    found = labels_of_points(ids, scan)
    assert found[-1] == 2 and (found[:-1] == 1).all()


@pytest.mark.parametrize("distance, label", [(20.3, 1), (5, 0)])
def test_only_neighbours_within_a_metre_vote(distance, label):
    """A point whose pixel has no label gets that of a wall at 20 m, if it is near the wall."""
    wall = [at(0, yaw, 20) for yaw in np.arange(-3, 3, 360 / WIDTH)]
    scan = project(np.array([*wall, at(0, 0.05, distance)], dtype=np.float32))
    ids = np.where(scan.points >= 0, 1, 0)
    ids[scan.rows[-1], scan.columns[-1]] = 0
    assert labels_of_points(ids, scan)[-1] == label


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "has 0 bytes, not points of 16 bytes; unpack it again"),
        (b"x" * 33, "has 33 bytes, not points"),
        (np.array([1e30, 2, 3, 0], "<f4").tobytes(), "has 1 points .* or farther than 100 km"),
        (
            np.array([[1, 2, np.nan, 0]], "<f4").tobytes(),
            "has 1 points with NaN or infinite values",
        ),
    ],
)
def test_scans_that_are_damaged(tmp_path, content, sentence):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(InputError, match=f"a.bin {sentence}"):
        read_bands(tmp_path / "a.bin")


def test_each_written_label_is_read_as_its_class():
    assert TABLE[RAW_IDS].tolist() == list(range(19))


# The publisher's mapping: each raw id and its class from 1, 0 for none.
LEARNING_MAP = {
    **{0: 0, 1: 0, 10: 1, 11: 2, 13: 5, 15: 3, 16: 5, 18: 4, 20: 5, 30: 6, 31: 7, 32: 8, 40: 9},
    **{44: 10, 48: 11, 49: 12, 50: 13, 51: 14, 52: 0, 60: 9, 70: 15, 71: 16, 72: 17, 80: 18},
    **{81: 19, 99: 0, 252: 1, 253: 7, 254: 6, 255: 8, 256: 5, 257: 5, 258: 4, 259: 5},
}


def test_raw_ids_are_mapped_as_the_publisher_does():
    known = {i: int(TABLE[i]) + 1 for i in range(len(TABLE)) if TABLE[i] != UNKNOWN}
    assert known == LEARNING_MAP


def test_objects_of_two_raw_classes_are_two(tmp_path):
    """Bus 1 and the other vehicle 1 are of one class; a car and a moving car may share a number."""
    points = np.array([at(0, yaw, 9) for yaw in range(0, 40, 2)], dtype=np.float32)
    labels = np.repeat([13 | 1 << 16, 20 | 1 << 16, 252 | 5 << 16, 10], 5).astype(np.uint32)
    (tmp_path / "a.bin").write_bytes(points.tobytes())
    write_point_labels(tmp_path / "a.label", labels)
    found = read_labels(Frame("a", tmp_path / "a.bin", tmp_path / "a.label"))
    objects = {(c, n) for c, n in zip(found.classes.ravel(), found.instances.ravel(), strict=True)}
    assert len({n for c, n in objects if c == 4}) == 2  # other-vehicle
    assert {n for c, n in objects if c == 0} == {0, max(n for c, n in objects if c == 0)}
