"""What an import wrote, and what looks wrong with its classes."""

import difflib
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from efficientps_d2.data.importers.other_formats import ONLY_BOXES
from efficientps_d2.data.importers.painting import Classes
from efficientps_d2.data.importers.source import Source
from efficientps_d2_runtime.errors import InputError


@dataclass
class ImportSummary:
    """What an import wrote.

    Attributes:
        images: number of images of each split.
        segments: number of segments of each (split, class).
        shapes: number of regions of each (label, whether it is a box).
        warnings: for each message the places that it is about.
    """

    images: Counter = field(default_factory=Counter)
    segments: Counter = field(default_factory=Counter)
    shapes: Counter = field(default_factory=Counter)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def unlisted(self, classes: Classes) -> Counter:
        """Number of regions of each label that is not a class."""
        counts = Counter()
        for (label, _), count in self.shapes.items():
            if classes.find(label)[0] is None:
                counts[label or "(no label)"] += count
        return counts


def count_segments(summary: ImportSummary, split: str, entries: list, classes: Classes) -> None:
    """Count images and segments of one split."""
    summary.images[split] = len(entries)
    for _, entry in entries:
        for segment in entry["segments_info"]:
            summary.segments[split, classes.names[segment["category_id"] - 1]] += 1


def check_boxes(shapes: Counter, classes: Classes, source: Source) -> None:
    """Refuse a source of boxes, which say nothing about pixels; warn of classes of boxes."""
    kinds = defaultdict(set)
    for label, is_box in shapes:
        kinds[classes.find(label)[0]].add(is_box)
    drawn = [name for name in classes.names if name in kinds]
    only_boxes = [name for name in drawn if kinds[name] == {True}]
    if only_boxes == drawn:
        raise InputError(f"{source.root} holds only boxes of these classes, {ONLY_BOXES}.")
    for name in only_boxes:
        source.warn("classes are drawn only as boxes; every pixel of a box gets its class", name)


def warn_of_classes(
    entries: list, classes: Classes, source: Source, summary: ImportSummary
) -> None:
    """Warn of classes that never occur, and of things that only occur as crowds."""
    labels = summary.unlisted(classes)
    crowds = defaultdict(set)
    for _, entry in entries:
        for segment in entry["segments_info"]:
            crowds[classes.names[segment["category_id"] - 1]].add(segment["iscrowd"])
    for name in classes.names:
        if not crowds[name]:
            close = difflib.get_close_matches(name, labels, 1)
            hint = f"{name}: did you mean {close[0]}?" if close else name
            source.warn(
                "no shape has these labels of --things or --stuff; if they are misspelt, correct "
                "them and import again with --overwrite",
                hint,
            )
        elif crowds[name] == {1}:
            source.warn("things occur only as crowds, so no object can be learned of them", name)
