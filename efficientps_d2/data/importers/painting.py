"""From the regions of an image to a map of segment ids."""

import csv
from collections import Counter
from collections.abc import Iterable

import numpy as np
from detectron2.utils.colormap import colormap

from efficientps_d2.data.coco_panoptic import IGNORE_LABEL
from efficientps_d2.data.importers.regions import AnnotatedImage, Region, raster
from efficientps_d2.data.importers.source import Source
from efficientps_d2_runtime.errors import InputError


def read_labels(text: str) -> list[str]:
    """Labels with commas between them; one that holds a comma stands in double quotes, as in CSV.

    Raises:
        InputError: if a quote is not closed.
    """
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise InputError(
            f"--things or --stuff lists {text}, whose quotes cannot be read ({error}); write for "
            """instance 'car,"bus, big"'."""
        ) from error
    return [label.strip() for row in rows for label in row if label.strip()]


class Classes:
    """The classes of a dataset; category ids count from 1, things first.

    Raises:
        InputError: if there are no things, no stuff, too many classes, or one of them twice.
    """

    def __init__(self, things: Iterable[str], stuff: Iterable[str]):
        self.things, self.stuff = list(things), list(stuff)
        self.names = self.things + self.stuff
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise InputError(f'--things and --stuff list "{twice[0]}" twice; list it once.')
        if not (self.things and self.stuff) or len(self.names) >= IGNORE_LABEL:
            raise InputError(
                f"--things and --stuff list {len(self.things)} and {len(self.stuff)} classes; give "
                f"at least one of each and no more than {IGNORE_LABEL - 1} together."
            )

    def find(self, label: str) -> tuple[str | None, bool]:
        """The class of a label and whether it is a group, such as Cityscapes' "cargroup"."""
        label = label.strip()
        single = label.removesuffix("group")
        if label not in self.names and single in self.things:
            return single, True
        return (label if label in self.names else None), False

    def categories(self) -> list[dict]:
        colors = colormap(rgb=True).astype(int).tolist()
        return [
            {
                "id": i + 1,
                "name": name,
                "supercategory": name,
                "isthing": int(name in self.things),
                "color": colors[i % len(colors)],
            }
            for i, name in enumerate(self.names)
        ]


def paint(
    image: AnnotatedImage, size: tuple[int, int], classes: Classes, source: Source, shapes: Counter
) -> tuple[np.ndarray, list[dict]]:
    """Paint the regions of an image over each other, those whose label is no class as void.

    Args:
        size: (height, width).
        shapes: counts the regions of each (label, whether it is a box).

    Returns:
        (H, W) int32 segment ids, 0 for void, and the ``segments_info`` of COCO's panoptic format.
    """
    ids = np.zeros(size, dtype=np.int32)
    numbers: dict[tuple, int] = {}
    boxes: dict[int, list[int]] = {}  # around all that was painted: left, top, right, bottom
    for count, region in enumerate(image.regions):
        mask, left, top = raster(region.shape, size)
        if not mask.any():
            source.warn("shapes that cover no pixel of their image were left out", image.origin)
            continue
        shapes[region.label.strip(), region.box] += 1
        bottom, right = top + mask.shape[0], left + mask.shape[1]
        name, is_group = classes.find(region.label)
        if name is None:
            ids[top:bottom, left:right][mask] = 0
            continue
        key = _segment_key(region, name, is_group, name in classes.things, count)
        id_ = numbers.setdefault(key, len(numbers) + 1)
        ids[top:bottom, left:right][mask] = id_
        x0, y0, x1, y1 = boxes.get(id_, (left, top, right, bottom))
        boxes[id_] = [min(x0, left), min(y0, top), max(x1, right), max(y1, bottom)]
    segments = []
    for (name, kind, _), id_ in numbers.items():
        x0, y0, x1, y1 = boxes[id_]
        ys, xs = np.nonzero(ids[y0:y1, x0:x1] == id_)
        if len(ys) == 0:
            source.warn("objects that others cover completely were left out", image.origin)
            continue
        x, y = x0 + int(xs.min()), y0 + int(ys.min())
        segments.append(
            {
                "id": id_,
                "category_id": classes.names.index(name) + 1,
                "area": len(ys),
                "bbox": [x, y, x0 + int(xs.max()) + 1 - x, y0 + int(ys.max()) + 1 - y],
                "iscrowd": int(kind == "crowd"),
            }
        )
    return ids, segments


def _segment_key(region: Region, name: str, is_group: bool, is_thing: bool, count: int) -> tuple:
    """Regions with the same key are one segment."""
    if not is_thing:
        return name, "stuff", None
    if region.crowd or is_group:  # PQ knows one crowd segment per class and image
        return name, "crowd", None
    if region.group is None:
        return name, "single", count
    return name, "group", region.group
