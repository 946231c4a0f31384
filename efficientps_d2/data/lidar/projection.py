"""Range images: what the scanner saw, row by row, as the tools of SemanticKITTI project it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from efficientps_d2.data.lidar.scans import read_scan

HEIGHT, WIDTH = 64, 2048
FIELD_UP, FIELD_DOWN = np.radians(3.0), np.radians(-25.0)  # of the scanner of KITTI
BANDS = ("range", "x", "y", "z", "remission")


class RangeImage(NamedTuple):
    """A scan as an image, and where its points are in it.

    Attributes:
        image: (64, 2048, 5) float32, the bands of :data:`BANDS`; NaN where no point is.
        rows, columns: (N,) int64 pixel of each point.
        ranges: (N,) float32 distance of each point in metres.
        points: (64, 2048) int64 index of the point in each pixel, -1 where there is none.
    """

    image: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    ranges: np.ndarray
    points: np.ndarray


def project(points: np.ndarray) -> RangeImage:
    """The range image of (N, 4) points; of those in one pixel the nearest stays."""
    x, y, z, remission = points.T
    ranges = np.sqrt(x * x + y * y + z * z)
    yaw = -np.arctan2(y, x)
    pitch = np.arcsin(z / np.maximum(ranges, 1e-6))
    columns = 0.5 * (yaw / np.pi + 1) * WIDTH
    rows = (1 - (pitch - FIELD_DOWN) / (FIELD_UP - FIELD_DOWN)) * HEIGHT
    columns = np.floor(columns).clip(0, WIDTH - 1).astype(np.int64)
    rows = np.floor(rows).clip(0, HEIGHT - 1).astype(np.int64)
    order = np.argsort(-ranges, kind="stable")  # what is written last, stays
    index = np.full((HEIGHT, WIDTH), -1, dtype=np.int64)
    index[rows[order], columns[order]] = order
    bands = np.stack([ranges, x, y, z, remission], axis=1).astype(np.float32)
    image = np.full((HEIGHT, WIDTH, len(BANDS)), np.nan, dtype=np.float32)
    image[index >= 0] = bands[index[index >= 0]]
    return RangeImage(image, rows, columns, ranges, index)


def read_range_image(file: str | Path) -> np.ndarray:
    """(64, 2048, 5) float32 of a scan; see :class:`RangeImage`."""
    return project(read_scan(file)).image
