"""One panoptic map of overlapping tiles: objects across seams are neither cut nor doubled."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SAME = 0.5  # IoU, where both tiles look, of two views of one object
BAND = 256  # rows that are renumbered at once


@dataclass
class Tile:
    """A part of an image, and the part of it that no other tile decides on."""

    rows: slice
    columns: slice
    core: tuple[slice, slice]
    is_inner: tuple[bool, bool, bool, bool]  # whether more image is above, below, left, right

    @property
    def inner(self) -> tuple[slice, slice]:
        """The core, in the tile."""
        return _within(self.core[0], self.rows), _within(self.core[1], self.columns)


def tiles(size: tuple[int, int], side: int) -> Iterator[Tile]:
    """Tiles of ``side`` x ``side`` pixels, row by row, that overlap by a quarter or more."""
    rows, columns = (_parts(length, side) for length in size)
    for row, core_row in rows:
        for column, core_column in columns:
            edges = (row.start > 0, row.stop < size[0], column.start > 0, column.stop < size[1])
            yield Tile(row, column, (core_row, core_column), edges)


def _parts(length: int, side: int) -> list[tuple[slice, slice]]:
    """Even parts of one axis, and where each of them ends in the middle of an overlap."""
    if length <= side:
        return [(slice(0, length), slice(0, length))]
    overlap = side // 4
    count = -(-(length - overlap) // (side - overlap))
    starts = np.linspace(0, length - side, count).round().astype(int).tolist()
    seams = [0, *((a + side + b) // 2 for a, b in pairwise(starts)), length]
    cores = [slice(a, b) for a, b in pairwise(seams)]
    return [(slice(s, s + side), core) for s, core in zip(starts, cores, strict=True)]


@dataclass
class View:
    """What a tile sees of a thing, or all tiles of a class of stuff."""

    class_id: int
    score: float
    weight: int  # pixels that the score of stuff is a mean of

    def add(self, score: float, weight: int) -> None:
        """Add more of the same stuff."""
        total = self.weight + weight
        self.score = (self.score * self.weight + score * weight) / total
        self.weight = total


class Mosaic:
    """Takes the results of tiles, in their order, and joins them.

    The tile whose core a pixel is in decides what it is. But an object that a tile sees to its end
    has all its pixels, also in the cores of other tiles that do not see it. Two objects of a class
    that are alike where two tiles look are one.
    """

    def __init__(self, size: tuple[int, int]):
        """
        Args:
            size: height and width of the image.
        """
        # Indices of views. Beyond the cores there are things only, until their own tile comes.
        self.pan_seg = np.zeros(size, dtype=np.int32)
        self._views = [View(-1, 0.0, 0)]  # void
        self._stuff = {}  # index of each class
        self._tiles = []  # that later ones may overlap
        # Of each view: the smallest index of its object, and what is known of the object.
        self._first = np.zeros(1, dtype=np.int32)
        self._is_thing, self._is_whole = np.zeros(1, dtype=bool), np.zeros(1, dtype=bool)

    def add(self, tile: Tile, pan_seg: np.ndarray, segments: list) -> None:
        """Add the panoptic map of a tile and its segments, with ``category_id`` and the like."""
        found = self._new_views(tile, pan_seg, segments)[pan_seg]
        before = self.pan_seg[tile.rows, tile.columns]
        before[...] = self._first[before]
        self._tiles = [t for t in self._tiles if t.rows.stop > tile.rows.start]
        seen = np.zeros(found.shape, dtype=bool)
        is_matched = np.zeros(len(self._views), dtype=bool)
        for other in self._tiles:
            part = _overlap(other, tile)
            seen[part] = True
            # What lies in a corner lies in the overlaps of two sides, too.
            if other.rows == tile.rows or other.columns == tile.columns:
                self._match(before[part], found[part], is_matched)
        found, before[...] = self._first[found], self._first[before]
        is_alone = self._is_whole & ~is_matched
        free = ~self._is_thing[before]
        taken = np.zeros(found.shape, dtype=bool)
        taken[tile.inner] = True
        taken &= self._is_thing[found] | ~is_alone[before]
        taken |= is_alone[found] & free
        taken |= self._is_thing[found] & ~seen & free
        before[taken] = found[taken]
        self._tiles.append(tile)

    def _new_views(self, tile: Tile, pan_seg: np.ndarray, segments: list) -> np.ndarray:
        """The index of each segment of a tile, by its id: that of its stuff, or a new one."""
        index_of = np.zeros(max((s.id for s in segments), default=0) + 1, dtype=np.int32)
        is_thing, is_whole = [], []
        for segment in segments:
            if segment.isthing or segment.category_id not in self._stuff:
                index_of[segment.id] = len(self._views)
                self._views.append(View(segment.category_id, segment.score, segment.area))
                is_thing.append(segment.isthing)
                is_whole.append(segment.isthing and _is_whole(tile, pan_seg == segment.id))
                if not segment.isthing:
                    self._stuff[segment.category_id] = int(index_of[segment.id])
            else:
                index_of[segment.id] = self._stuff[segment.category_id]
                self._views[index_of[segment.id]].add(segment.score, segment.area)
        new = np.arange(len(self._first), len(self._views), dtype=np.int32)
        self._first = np.append(self._first, new)
        self._is_thing = np.append(self._is_thing, np.array(is_thing, dtype=bool))
        self._is_whole = np.append(self._is_whole, np.array(is_whole, dtype=bool))
        return index_of

    def _match(self, before: np.ndarray, found: np.ndarray, is_matched: np.ndarray) -> None:
        """Join views of one object, where a tile and an earlier one look; mark what has others."""
        count = len(self._views)
        old, new = self._first[before.ravel()].astype(np.int64), self._first[found.ravel()]
        old_areas, new_areas = (np.bincount(x, minlength=count) for x in (old, new))
        pairs, shared = np.unique(old * count + new, return_counts=True)
        for pair, both in zip(pairs.tolist(), shared.tolist(), strict=True):
            a, b = divmod(pair, count)
            if not (self._is_thing[a] and self._is_thing[b]):
                continue
            if self._views[a].class_id != self._views[b].class_id:
                continue
            if both > SAME * (old_areas[a] + new_areas[b] - both):
                is_matched[self._join(a, b)] = True

    def _join(self, a: int, b: int) -> int:
        """Make two views one, whose index it gives."""
        a, b = sorted(self._first[[a, b]].tolist())
        self._first[self._first == b] = a
        self._views[a].score = max(self._views[a].score, self._views[b].score)
        self._is_whole[a] |= self._is_whole[b]
        return a

    def finish(self, stuff_area_limit: int) -> list[tuple[int, bool, float, int]]:
        """Number the segments from 1: things by their scores, then stuff by its classes.

        Args:
            stuff_area_limit: smaller stuff becomes void.

        Returns:
            Class, whether it is a thing, score and area of each segment of ``pan_seg``.
        """
        count = len(self._views)
        self._renumber(self._first)
        areas = sum(np.bincount(band.ravel(), minlength=count) for band in self._bands()).tolist()
        alive = [i for i in range(1, count) if areas[i]]
        things = [i for i in alive if self._is_thing[i]]
        stuff = [i for i in self._stuff.values() if areas[i] >= max(stuff_area_limit, 1)]
        things.sort(key=lambda i: -self._views[i].score)
        stuff.sort(key=lambda i: self._views[i].class_id)
        order, new_index = things + stuff, np.zeros(count, dtype=np.int32)
        new_index[order] = np.arange(1, len(order) + 1)
        self._renumber(new_index)
        return [
            (self._views[i].class_id, bool(self._is_thing[i]), self._views[i].score, areas[i])
            for i in order
        ]

    def boxes(self, count: int) -> np.ndarray:
        """(count, 4) x0 y0 x1 y1 of the first segments, the things, of the finished map."""
        low, high = np.full((2, count), 2**31 - 1), np.zeros((2, count), dtype=int)
        top = 0
        for band in self._bands():
            places = np.nonzero((band > 0) & (band <= count))
            index = band[places] - 1
            for axis, first in enumerate((top, 0)):
                np.minimum.at(low[axis], index, places[axis] + first)
                np.maximum.at(high[axis], index, places[axis] + first + 1)
            top += len(band)
        return np.stack([low[1], low[0], high[1], high[0]], axis=1)

    def _bands(self) -> Iterator[np.ndarray]:
        for top in range(0, len(self.pan_seg), BAND):
            yield self.pan_seg[top : top + BAND]

    def _renumber(self, new_id: np.ndarray) -> None:
        for band in self._bands():
            band[...] = new_id[band]


def _is_whole(tile: Tile, mask: np.ndarray) -> bool:
    """Whether an object ends before the sides of its tile beyond which there is more image."""
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return not any(inner and side.any() for inner, side in zip(tile.is_inner, sides, strict=True))


def _overlap(other: Tile, tile: Tile) -> tuple[slice, slice]:
    """The part of a tile that another one sees, too; maybe empty."""
    parts = []
    for a, b in ((other.rows, tile.rows), (other.columns, tile.columns)):
        start = max(a.start - b.start, 0)
        parts.append(slice(start, max(a.stop - b.start, start)))
    return tuple(parts)


def _within(part: slice, outer: slice) -> slice:
    return slice(part.start - outer.start, part.stop - outer.start)
