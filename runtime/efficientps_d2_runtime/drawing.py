"""Drawing of panoptic maps with Pillow."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from efficientps_d2_runtime.colors import shades
from efficientps_d2_runtime.label_places import LabelPlaces
from efficientps_d2_runtime.result import PanopticResult, Segment

LONG_SIDE = 1024  # pixels that smaller images are enlarged to, so that labels take less of them
OPACITY = 0.55
EDGE = (255, 255, 240)
HATCH = (60, 130)  # grey of the stripes where no segment is
MANY = 30  # things, whose labels would cover the image


def draw_panoptic(
    image: np.ndarray, prediction: PanopticResult, categories: list[dict]
) -> np.ndarray:
    """Overlay a panoptic map: segments in colours, their edges, names and scores.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: of this image.
        categories: ``color`` of each class, by contiguous id.

    Returns:
        uint8 RGB; small images are enlarged. It is hatched where no segment is.
    """
    pan_seg = prediction.panoptic_seg
    factor = max(1, LONG_SIDE // max(pan_seg.shape))
    drawn = hatch(image, pan_seg).astype(np.float32)
    colors = segment_colors(prediction.segments, categories)
    table = np.zeros((max([pan_seg.max(), *colors]) + 1, 3), dtype=np.float32)
    for id_, color in colors.items():
        table[id_] = color
    inside = pan_seg > 0
    drawn[inside] = (1 - OPACITY) * drawn[inside] + OPACITY * table[pan_seg[inside]]
    enlarged = (pan_seg.shape[1] * factor, pan_seg.shape[0] * factor)
    picture = Image.fromarray(drawn.astype(np.uint8)).resize(enlarged, Image.Resampling.BILINEAR)
    pan_seg = pan_seg.repeat(factor, axis=0).repeat(factor, axis=1)
    drawn = np.array(picture)
    drawn[_edges(pan_seg)] = EDGE
    picture = Image.fromarray(drawn)
    _write_labels(picture, pan_seg, prediction.segments, colors)
    return np.array(picture)


def segment_colors(segments: list[Segment], categories: list[dict]) -> dict[int, list[float]]:
    """Red, green and blue, from 0 to 255, by segment id: of things a shade of their class's."""
    class_colors = [category["color"] for category in categories]
    things = [segment for segment in segments if segment.isthing]
    of_things = shades(class_colors, [thing.category_id for thing in things])
    colors = {s.id: list(map(float, class_colors[s.category_id])) for s in segments}
    return colors | {
        thing.id: [255 * value for value in color]
        for thing, color in zip(things, of_things, strict=True)
    }


def few_labels(names: Sequence[str], labels: Sequence[str], areas: Sequence[int]) -> list[str]:
    """The labels of things; of more than 30 only the largest of a class has one, with their count.

    Args:
        names: the class of each thing.
        labels: what is written on it.
        areas: its pixels.
    """
    if len(names) <= MANY:
        return list(labels)
    counts = Counter(names)
    largest = {names[i]: i for i in sorted(range(len(names)), key=lambda i: areas[i])}
    return [f"{counts[n]} x {n}" if largest[n] == i else "" for i, n in enumerate(names)]


def hatch(image: np.ndarray, pan_seg: np.ndarray) -> np.ndarray:
    """A copy of an image, hatched where no segment is, so that this does not look like one.

    Args:
        image: (H, W, 3) uint8.
        pan_seg: (H, W) segment ids, 0 for void.
    """
    void, drawn = pan_seg == 0, image.copy()
    if not void.any():
        return drawn
    y, x = (np.arange(side, dtype=np.int32) for side in pan_seg.shape)
    width = max(2, max(pan_seg.shape) // 128)
    lighter = (x + y[:, None]) // width % 2 == 0
    for pixels, grey in ((void & ~lighter, HATCH[0]), (void & lighter, HATCH[1])):
        blend = np.rint(0.4 * np.arange(256) + 0.6 * grey).astype(np.uint8)
        drawn[pixels] = blend[image[pixels]]
    return drawn


def _font(size: int) -> ImageFont.ImageFont:
    """DejaVu Sans where it is installed: Pillow's own font has ASCII only."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def _edges(pan_seg: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbour is of another segment."""
    edges = np.zeros(pan_seg.shape, dtype=bool)
    edges[:, :-1] |= pan_seg[:, :-1] != pan_seg[:, 1:]
    edges[:-1] |= pan_seg[:-1] != pan_seg[1:]
    return edges


def _write_labels(picture: Image.Image, pan_seg: np.ndarray, segments: list[Segment], colors):
    """Names, and of things scores, where no other label is: things first, the largest first."""
    things = [segment for segment in segments if segment.isthing]
    texts = few_labels(
        [thing.name for thing in things],
        [f"{thing.name} {thing.score:.0%}" for thing in things],
        [thing.area for thing in things],
    )
    texts = dict(zip((thing.id for thing in things), texts, strict=True))
    texts |= {segment.id: segment.name for segment in segments if not segment.isthing}
    shown = [segment for segment in segments if texts[segment.id]]
    shown.sort(key=lambda segment: (not segment.isthing, -segment.area))
    pen = ImageDraw.Draw(picture)
    font = _font(max(11, max(picture.size) // 70))
    places = LabelPlaces(picture.height, picture.width)
    ids = [thing.id for thing in things]
    places.avoid(np.where(np.isin(pan_seg, ids), pan_seg, 0))
    for segment in shown:
        ys, xs = np.nonzero(pan_seg == segment.id)
        if not len(ys):
            continue
        text = texts[segment.id]
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        size = right - left + 6, bottom - top + 6
        # The pixel nearest to its middle, which may itself lie outside.
        nearest = np.hypot(xs - np.median(xs), ys - np.median(ys)).argmin()
        x, y = float(xs[nearest]), float(ys[nearest]) - size[1] / 2
        tops = (y, y + size[1], y - size[1])
        place = places.find(x, tops, size, segment.id if segment.isthing else 0)
        if place is None:
            continue
        corner = place[0] - size[0] / 2, place[1]
        pen.rectangle((*corner, corner[0] + size[0], corner[1] + size[1]), fill=(0, 0, 0))
        color = tuple(int(127 + value / 2) for value in colors[segment.id])  # bright, on black
        pen.text((corner[0] + 3 - left, corner[1] + 3 - top), text, fill=color, font=font)
