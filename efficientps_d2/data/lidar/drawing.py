"""Drawings of a scan: as a range image, and from above."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from detectron2.data.catalog import Metadata

from efficientps_d2.data.lidar.back_to_points import labels_of_points
from efficientps_d2.data.lidar.projection import HEIGHT, WIDTH, RangeImage, project
from efficientps_d2.data.lidar.scans import SCAN_SUFFIX, read_scan
from efficientps_d2_runtime.colors import shades

STRETCH = 3  # a range image is drawn so many times as high
AROUND = 40.0  # metres that are seen from above, to each side of the scanner
SHARE = 2, 98  # percentiles of remission that are drawn dark and bright
CAPTION, GAP = 30, 6  # pixels
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Labelled(NamedTuple):
    """A panoptic map of a range image: ids (64, 2048) and ``segments_info``, with a caption."""

    caption: str
    pan_seg: np.ndarray
    segments: list[dict]


def is_scan(file: str | Path) -> bool:
    return Path(file).suffix.lower() == SCAN_SUFFIX


def draw_scan(file: str | Path, maps: Sequence[Labelled], metadata: Metadata) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the scan and each map as range images, then all from above.

    Forwards is up; points without a segment are dark grey.

    Args:
        file: the scan.
        maps: of its range image.
        metadata: names and colours of the classes.

    Raises:
        InputError: if the scan cannot be used.
    """
    points = read_scan(file)
    scan = project(points)
    layers = [("scan", _by_remission(points))]
    layers += [(m.caption, _by_segment(m, scan, metadata)) for m in maps]
    strips = [_captioned(_as_range_image(colors, scan), title) for title, colors in layers]
    side = (WIDTH - GAP * (len(layers) - 1)) // len(layers)
    above = [
        _captioned(_from_above(points, colors, side), f"{title}, from above")
        for title, colors in layers
    ]
    gap = np.full((len(above[0]), GAP, 3), 255, dtype=np.uint8)
    row = [part for picture in above for part in (picture, gap)][:-1]
    row = np.concatenate(row, axis=1)
    row = np.pad(row, ((0, 0), (0, WIDTH - row.shape[1]), (0, 0)), constant_values=255)
    return np.concatenate([*strips, row, _legend(maps, metadata)])


def _by_remission(points: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 by height, from blue to red, and brighter the more light came back."""
    hue = np.interp(points[:, 2], (-2.5, 3.0), (120, 0))
    low, high = np.percentile(points[:, 3], SHARE)
    value = np.interp(points[:, 3], (low, max(high, low + 1e-6)), (90, 255))
    hsv = np.stack([hue, np.full_like(hue, 170), value], axis=1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def _by_segment(labelled: Labelled, scan: RangeImage, metadata: Metadata) -> np.ndarray:
    """(N, 3) uint8: the colour of the class, of things in a shade of their own."""
    ids = labels_of_points(labelled.pan_seg.astype(np.int64), scan)
    largest = max([int(ids.max(initial=0)), *(s["id"] for s in labelled.segments)])
    table = np.full((largest + 1, 3), 70, dtype=np.uint8)
    classes = [s["category_id"] for s in labelled.segments]
    colors = shades(metadata.stuff_colors, classes)
    is_thing = set(metadata.thing_dataset_id_to_contiguous_id.values())
    for segment, class_id, color in zip(labelled.segments, classes, colors, strict=True):
        plain = np.array(metadata.stuff_colors[class_id])
        shade = np.array(color) * 255 if class_id in is_thing else plain
        table[segment["id"]] = shade.round().astype(np.uint8)
    return table[ids]


def _as_range_image(colors: np.ndarray, scan: RangeImage) -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    there = scan.points >= 0
    pixels[there] = colors[scan.points[there]]
    return pixels.repeat(STRETCH, axis=0)


def _from_above(points: np.ndarray, colors: np.ndarray, side: int) -> np.ndarray:
    """Higher points hide lower ones."""
    rows = ((AROUND - points[:, 0]) / (2 * AROUND) * side).astype(np.int64)
    columns = ((AROUND - points[:, 1]) / (2 * AROUND) * side).astype(np.int64)
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    order = np.argsort(points[:, 2], kind="stable")
    order = order[inside[order]]
    pixels = np.zeros((side, side, 3), dtype=np.uint8)
    pixels[rows[order], columns[order]] = colors[order]
    # A point is larger than a pixel.
    grown = cv2.dilate(pixels, np.ones((2, 2), np.uint8))
    return np.where(pixels.any(axis=2, keepdims=True), pixels, grown)


def _captioned(pixels: np.ndarray, text: str) -> np.ndarray:
    bar = np.full((CAPTION, pixels.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(bar, text, (6, 21), FONT, 0.65, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([bar, pixels])


def _legend(maps: Sequence[Labelled], metadata: Metadata) -> np.ndarray:
    """Names of the classes that occur, in their colours."""
    bar = np.full((CAPTION + GAP, WIDTH, 3), 255, dtype=np.uint8)
    x = 6
    for class_id in sorted({s["category_id"] for m in maps for s in m.segments}):
        name = metadata.stuff_classes[class_id]
        color = [int(value) for value in metadata.stuff_colors[class_id]]
        cv2.rectangle(bar, (x, 9), (x + 18, 27), color, cv2.FILLED)
        cv2.putText(bar, name, (x + 24, 25), FONT, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
        x += 44 + cv2.getTextSize(name, FONT, 0.6, 1)[0][0]
    return bar
