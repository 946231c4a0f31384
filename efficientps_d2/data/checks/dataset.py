"""Check a whole panoptic dataset: every problem, and the statistics that settings depend on."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from efficientps_d2.data.checks.image import ImageReport, check_image
from efficientps_d2.data.checks.listing import Listing
from efficientps_d2.data.checks.problems import Problem, shown
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.images import bits_in_use


class Statistics(NamedTuple):
    """Statistics of a dataset; sizes in pixels of the images as they are."""

    images: np.ndarray  # (P, 3) int64: height, width, number of things without crowds
    things: np.ndarray  # (T, 3) float64: sqrt(box area), height and width of the image
    stuff: np.ndarray  # (S,) float64: areas of the stuff segments
    classes: dict  # category id: [images, segments, pixels]
    bands: np.ndarray | None = None  # (3, C) float64: number, mean, sum of squared deviations

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return int(self.images[:, :2].prod(axis=1).sum())

    @property
    def void(self) -> int:
        """Pixels that belong to no class."""
        return self.pixels - sum(pixels for *_, pixels in self.classes.values())

    @classmethod
    def of_all(cls, parts: Sequence["Statistics"]) -> "Statistics":
        """The statistics of several datasets of the same classes."""
        classes = {id_: np.zeros(3, dtype=int) for part in parts for id_ in part.classes}
        for id_ in classes:
            counts = np.sum([part.classes[id_] for part in parts if id_ in part.classes], axis=0)
            classes[id_] = counts.tolist()
        sizes = zip(*(part[:3] for part in parts), strict=True)
        bands = _together([part.bands for part in parts])
        return cls(*(np.concatenate(arrays) for arrays in sizes), classes, bands)


class CheckResult(NamedTuple):
    """All problems, the kinds of problems of each of ``listing.images``, and the statistics."""

    problems: list[Problem]
    kinds: list[frozenset[str]]
    statistics: Statistics


def check_dataset(listing: Listing, processes: int = 1, image_format: str = "RGB") -> CheckResult:
    """Read every image once, with a progress bar.

    Args:
        listing: of the dataset.
        processes: that read images at the same time.
        image_format: ``INPUT.FORMAT`` of the training.

    Raises:
        InputError: if a process dies, mostly for lack of memory.
    """
    check = partial(check_image, categories=listing.categories, image_format=image_format)
    problems, kinds, reports = list(listing.problems), [], []
    found = map_images(check, listing.images, processes, "checking")
    for image, report in zip(listing.images, found, strict=True):
        problems += report.problems
        kinds.append(image.kinds | {problem.kind for problem in report.problems})
        reports.append(report)
    statistics = merge_statistics(reports)
    problems += _unused_classes(listing, statistics) + _few_bits(listing, reports)
    problems += _other_bands(listing, reports)
    return CheckResult(problems, kinds, statistics)


def _unused_classes(listing: Listing, statistics: Statistics) -> list[Problem]:
    """Classes without a segment, unless no image could be used at all."""
    problems, file = [], listing.location.panoptic_json
    for isthing, kind in ((True, "thing"), (False, "stuff")):
        names = {id_: c.name for id_, c in listing.categories.items() if c.isthing == isthing}
        absent = [name for id_, name in names.items() if id_ not in statistics.classes]
        if not absent or not statistics.classes:
            continue
        if len(absent) == len(names):
            text = f"no image holds a {kind} segment: nothing is learned about {kind} classes"
            problems.append(Problem("nothing to learn", file, text))
            continue
        for name in absent:
            text = f"no image holds a segment of {name}: annotate some, or take the class out"
            problems.append(Problem("class without segments", file, text))
    return problems


def _few_bits(listing: Listing, reports: Sequence[ImageReport]) -> list[Problem]:
    """A warning if no image of 16 bits uses its upper bits: reading makes them almost black."""
    pairs = zip(listing.images, reports, strict=True)
    peaks = {p.image_file: r.peak_of_16_bits for p, r in pairs if r.peak_of_16_bits is not None}
    bits = bits_in_use(max(peaks.values())) if peaks else None
    if not bits:
        return []
    factor = 2 ** (16 - bits)
    text = (
        f"the largest value of the images of 16 bits ({len(peaks)}) is below {2**bits}: they "
        f"seem to hold {bits} bits, of which reading keeps the upper {bits - 8}; multiply "
        f"their values by {factor}, for instance: magick mogrify -evaluate multiply {factor} FILES"
    )
    return [Problem("values of fewer bits", shown(next(iter(peaks))), text)]


def _other_bands(listing: Listing, reports: Sequence[ImageReport]) -> list[Problem]:
    """Images whose number of bands is not that of the first."""
    pairs = zip(listing.images, reports, strict=True)
    counts = {p.image_file: r.bands.shape[1] for p, r in pairs if r.bands is not None}
    first = next(iter(counts.values()), None)
    return [
        Problem("number of bands", shown(file), f"has {count} bands, but the first image {first}")
        for file, count in counts.items()
        if count != first
    ]


def _together(bands: list[np.ndarray | None]) -> np.ndarray | None:
    """Of images or datasets together; None where some of them differ in their number."""
    given = [array for array in bands if array is not None]
    if len({array.shape for array in given}) != 1:
        return None
    counts, means, squares = np.stack(given, axis=1)
    total = np.maximum(counts.sum(axis=0), 1)
    mean = (counts * means).sum(axis=0) / total
    between = (counts * (means - mean) ** 2).sum(axis=0)
    return np.stack([counts.sum(axis=0), mean, squares.sum(axis=0) + between])


def merge_statistics(reports: Iterable[ImageReport]) -> Statistics:
    """The statistics of all images whose panoptic PNG could be used."""
    reports = [report for report in reports if report.size is not None]
    classes: dict = {}
    for report in reports:
        for id_, (segments, pixels) in report.classes.items():
            total = classes.setdefault(id_, [0, 0, 0])
            for i, count in enumerate((1, segments, pixels)):
                total[i] += count
    images = [(*r.size, len(r.things)) for r in reports]
    images = np.array(images, dtype=np.int64).reshape(-1, 3)
    things = np.array([size for r in reports for size in r.things], dtype=np.float64)
    return Statistics(
        images,
        np.column_stack([things, np.repeat(images[:, :2], images[:, 2], axis=0)]),
        np.array([area for r in reports for area in r.stuff], dtype=np.float64),
        classes,
        _together([report.bands for report in reports]),
    )
