"""Config values that suit a dataset, from its measured sizes and counts."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from efficientps_d2.data.checks.dataset import Statistics

LEVELS = ("p2", "p3", "p4", "p5")  # p2 has stride 2**2
LARGEST_SHORT_EDGE = 1024  # the paper's; larger images are reduced to it
LARGEST_IMAGE = 1024 * 2048  # pixels, as in the paper; longer images are reduced further
SMALL_THING, WANTED_THING = 20, 32  # pixels: a median below the first is enlarged to the second
LARGEST_ENLARGEMENT = 2.0
THING_QUANTILES = (0.05, 0.99)  # of sizes, for the smallest and the largest anchor
SMALLEST_CROP, LARGEST_CROP = 320, 640
FEWEST_PROPOSALS = 300
DETECTIONS_PER_THING = 1.5  # AP also profits from weak detections
MOST_DETECTIONS = 1000
STUFF_LOSS = 0.01  # share of the true stuff segments that may be below the area limit
STUFF_AREA_SHARE = 0.004  # of an image: larger limits would also remove what is worth finding


class Suggestion(NamedTuple):
    """A config key, its value as ``merge_from_list`` takes it, and why."""

    key: str
    value: object
    reason: str


def suggest_config(statistics: Statistics, given: dict | None = None) -> list[Suggestion]:
    """Overrides for a model with one anchor size for each level of ``MODEL.RPN.IN_FEATURES``.

    Keys that the data say nothing about are left out: anchors without things, the area limit
    without stuff, everything without images.

    Args:
        statistics: of the training data.
        given: values by key that are settled: the others are suggested to go with them.
    """
    if not len(statistics.images):
        return []
    given = given or {}
    sizes = _training_size(statistics, given)
    (short, longest), reasons = zip(*sizes, strict=True)
    suggestions = [
        Suggestion("INPUT.MIN_SIZE_TRAIN", (short,), reasons[0]),
        Suggestion("INPUT.MAX_SIZE_TRAIN", longest, reasons[1]),
        Suggestion("INPUT.MIN_SIZE_TEST", short, "as in training"),
        Suggestion("INPUT.MAX_SIZE_TEST", longest, "as in training"),
        _crop(statistics, short, longest),
    ]
    if statistics.bands is not None:
        suggestions += _for_bands(statistics.bands)
    if len(statistics.things):
        things = resized_things(statistics, short, longest)
        suggestions += _for_things(statistics, things, given)
    if len(statistics.stuff):
        suggestions.append(_stuff_limit(statistics))
    return [suggestion for suggestion in suggestions if suggestion.key not in given]


def suggest_classes(categories: dict) -> list[Suggestion]:
    """Class counts for the :class:`.Category` objects of a dataset."""
    things = sum(category.isthing for category in categories.values())
    reason = "in the JSON; -1, which the configs have, takes them from there"
    return [
        Suggestion(key, count, f"{count} {what} {reason}")
        for key, count, what in (
            ("MODEL.SEM_SEG_HEAD.NUM_CLASSES", len(categories), "classes"),
            ("MODEL.ROI_HEADS.NUM_CLASSES", things, "thing classes"),
        )
    ]


def resize_factors(sizes: np.ndarray, short: float, longest: float) -> np.ndarray:
    """Factors of Detectron2's ResizeShortestEdge.

    Args:
        sizes: (N, 2) heights and widths.
        short: shortest edge after the resize; 0 for no resize.
        longest: largest long edge.

    Returns:
        (N,) float64.
    """
    if short == 0:
        return np.ones(len(sizes))
    edges = np.sort(np.asarray(sizes, dtype=np.float64), axis=1)
    return np.minimum(short / edges[:, 0], longest / edges[:, 1])


def resized_things(statistics: Statistics, short: float, longest: float) -> np.ndarray:
    """(T,) sizes of the things in pixels after that resize."""
    things = statistics.things
    return things[:, 0] * resize_factors(things[:, 1:], short, longest)


def anchor_sizes(things: np.ndarray, levels: Sequence[str] = LEVELS) -> list[int]:
    """One anchor size for each level, ascending, in geometric steps.

    Larger things never give smaller anchors.

    Args:
        things: (T,) sizes in pixels of the resized images, T > 0.
        levels: names of consecutive levels of the pyramid, such as "p2".
    """
    strides = [2 ** int(level[1:]) for level in levels]
    smallest = np.quantile(things, THING_QUANTILES[0], method="lower")
    largest = np.quantile(things, THING_QUANTILES[1], method="higher")
    # Things of nearly one size: steps of sqrt(2) around it, so that sizes differ.
    middle = math.sqrt(smallest * largest)
    spread = 2 ** (0.5 * (len(strides) - 1) / 2)
    smallest, largest = min(smallest, middle / spread), max(largest, middle * spread)
    sizes = np.geomspace(smallest, largest, len(strides))
    # Anchors of less than two strides would leave gaps between them.
    return [max(2 * stride, round(size)) for stride, size in zip(strides, sizes, strict=True)]


def _training_size(statistics: Statistics, given: dict) -> list[tuple[int, str]]:
    """Shortest and longest edge for training, each with its reason."""
    edges = np.sort(statistics.images[:, :2], axis=1)
    median = float(np.median(edges[:, 0]))
    if "INPUT.MIN_SIZE_TRAIN" in given:
        short, reason = int(np.median(given["INPUT.MIN_SIZE_TRAIN"])), "given"
    else:
        short, reason = _shortest_edge(statistics, median)
    if "INPUT.MAX_SIZE_TRAIN" in given:
        longest = given["INPUT.MAX_SIZE_TRAIN"]
        if short > longest:
            short, reason = longest, "as the long edge that is given"
        return [(short, reason), (longest, "given")]
    aspect = float(np.quantile(edges[:, 1] / edges[:, 0], 0.99))
    base = short or median  # 0: images stay as they are
    longest = max(base, min(base * aspect, LARGEST_IMAGE / base))
    long_reason = f"room for long edges of {aspect:.2f} short ones (99 % quantile)"
    if longest < base * aspect:
        long_reason += f", reduced to {LARGEST_IMAGE / 1e6:.1f} million pixels to fit into memory"
    return [(short, reason), (_multiple(longest, 32, math.ceil), long_reason)]


def _shortest_edge(statistics: Statistics, median: float) -> tuple[int, str]:
    short = min(median, LARGEST_SHORT_EDGE)
    reason = f"the median short edge is {median:.0f} px"
    if short < median:
        reason += f", reduced to {short} px to fit into memory"
    if len(statistics.things):
        size = float(np.median(resized_things(statistics, short, math.inf)))
        reason += f"; the median thing then has {size:.0f} px"
        larger = min(WANTED_THING / size, LARGEST_ENLARGEMENT, LARGEST_SHORT_EDGE / short)
        if size < SMALL_THING and larger > 1:
            reason += f", so enlarged about {larger:.1f} times"
            return _multiple(short * larger, 32, round), reason
    return round(short), reason


def _crop(statistics: Statistics, short: int, longest: int) -> Suggestion:
    sizes = statistics.images[:, :2]
    resized = sizes * resize_factors(sizes, short, longest)[:, None]
    typical = np.floor(np.median(resized, axis=0))  # resizing rounds, so a fraction is no pixel
    edge, reason = SMALLEST_CROP, "no things: as small as crops should be"
    if len(statistics.things):
        largest = np.quantile(resized_things(statistics, short, longest), THING_QUANTILES[1])
        edge = _multiple(2 * largest, 32, math.ceil)
        edge = min(max(edge, SMALLEST_CROP), LARGEST_CROP)
        limits = f"at least {SMALLEST_CROP}, at most {LARGEST_CROP}"
        reason = f"twice the largest usual thing ({largest:.0f} px), {limits}"
    size = [min(edge, _multiple(pixels, 32, math.ceil)) for pixels in typical]
    reason += " and the median image; larger is better if memory and time allow"
    return Suggestion("INPUT.CROP.SIZE", size, reason)


def _for_things(statistics: Statistics, things: np.ndarray, given: dict) -> list[Suggestion]:
    low, middle, high = np.quantile(things, (THING_QUANTILES[0], 0.5, THING_QUANTILES[1]))
    sizes = f"things have {low:.0f} px (5 %), {middle:.0f} (median), {high:.0f} (99 %) at that size"
    most = int(statistics.images[:, 2].max())
    detections = max(100, _multiple(DETECTIONS_PER_THING * most, 50, math.ceil))
    detections = min(detections, MOST_DETECTIONS)
    detections = given.get("TEST.DETECTIONS_PER_IMAGE", detections)
    anchors = anchor_sizes(things, given.get("MODEL.RPN.IN_FEATURES", LEVELS))
    suggestions = [
        Suggestion("MODEL.ANCHOR_GENERATOR.SIZES", [[size] for size in anchors], sizes),
        Suggestion(
            "TEST.DETECTIONS_PER_IMAGE",
            detections,
            f"at most {most} things in an image; 100 to {MOST_DETECTIONS}",
        ),
    ]
    after, before = max(FEWEST_PROPOSALS, 2 * detections), max(500, 2 * detections)
    reason = f"two for each of {detections} detections, at least"
    for phase in ("TRAIN", "TEST"):
        suggestions += [
            Suggestion(f"MODEL.RPN.PRE_NMS_TOPK_{phase}", before, f"{reason} 500; of each level"),
            Suggestion(f"MODEL.RPN.POST_NMS_TOPK_{phase}", after, f"{reason} {FEWEST_PROPOSALS}"),
        ]
    return suggestions


def _for_bands(bands: np.ndarray) -> list[Suggestion]:
    counts, mean, squares = bands
    std = np.sqrt(squares / np.maximum(counts, 1))
    std = np.where(std > 0, std, 1)  # of a band without any contrast
    digits = 3 - np.floor(np.log10(std)).astype(int)  # to a thousandth of the deviation
    values = [
        [round(float(value), int(place)) for value, place in zip(row, digits, strict=True)]
        for row in (mean, std)
    ]
    return [
        Suggestion(key, rounded, f"of {len(mean)} bands")
        for key, rounded in zip(("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD"), values, strict=True)
    ]


def _stuff_limit(statistics: Statistics) -> Suggestion:
    quantile = float(np.quantile(statistics.stuff, STUFF_LOSS, method="lower"))
    image = float(np.median(statistics.images[:, :2].prod(axis=1)))
    limit = 2 ** int(math.log2(max(1.0, min(quantile, STUFF_AREA_SHARE * image))))
    lost, half = (statistics.stuff < limit).mean(), np.median(statistics.stuff)
    reason = f"{lost:.1%} of the true stuff segments are smaller; half have {half:.0f} px or more"
    return Suggestion("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", limit, reason)


def _multiple(value: float, step: int, rounding) -> int:
    """``value`` rounded to a multiple of ``step``, at least one step."""
    return max(step, step * rounding(value / step))
