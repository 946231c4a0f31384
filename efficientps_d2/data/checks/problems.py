"""The kinds of problems that the check of a dataset knows."""

from enum import Enum
from typing import NamedTuple


class Repair(Enum):
    """What a repaired copy does about a kind of problem, and how it is said."""

    BY_HAND = "leaves it to you"
    LEFT_OUT = "leaves the image out"
    COPIED = "copies it as it is"
    RENAMED = "gives the files different names"
    SIZE = "takes the size of the files"
    VOID = "makes these pixels void"
    DROPPED = "drops the segment"
    MERGED = "merges the segments of one class"
    AREA = "computes the area"
    BOX = "computes the box"
    CROWD = "writes iscrowd 0"
    STORED = "keeps the stored pixels and drops the tag"


class Kind(NamedTuple):
    """Whether training or evaluation would fail or go wrong, and what a repaired copy does."""

    is_error: bool
    repair: Repair


KINDS = {
    # The JSON as a whole
    "Cityscapes layout": Kind(True, Repair.BY_HAND),
    "damaged category": Kind(True, Repair.BY_HAND),
    "duplicate category id": Kind(True, Repair.BY_HAND),
    "duplicate category name": Kind(False, Repair.BY_HAND),
    "category that differs": Kind(True, Repair.BY_HAND),
    "class list": Kind(True, Repair.BY_HAND),
    "nothing to learn": Kind(True, Repair.BY_HAND),
    "class without segments": Kind(False, Repair.BY_HAND),
    "values of fewer bits": Kind(False, Repair.BY_HAND),
    "damaged image entry": Kind(True, Repair.LEFT_OUT),
    "duplicate image id": Kind(True, Repair.LEFT_OUT),
    "duplicate image name": Kind(True, Repair.RENAMED),
    "image without annotation": Kind(False, Repair.LEFT_OUT),
    "damaged annotation": Kind(True, Repair.LEFT_OUT),
    "annotation without image": Kind(True, Repair.LEFT_OUT),
    "several annotations": Kind(True, Repair.LEFT_OUT),
    "no images": Kind(True, Repair.BY_HAND),
    "path outside the dataset": Kind(True, Repair.LEFT_OUT),
    # The files of an image
    "missing file": Kind(True, Repair.LEFT_OUT),
    "unreadable file": Kind(True, Repair.LEFT_OUT),
    "image mode that is converted": Kind(False, Repair.COPIED),
    "image mode that loses values": Kind(True, Repair.LEFT_OUT),
    "unusable bands": Kind(True, Repair.LEFT_OUT),
    "image of bands": Kind(True, Repair.LEFT_OUT),
    "number of bands": Kind(True, Repair.BY_HAND),
    "pixels without data": Kind(False, Repair.COPIED),
    "image of 16 bits": Kind(False, Repair.COPIED),
    "EXIF orientation": Kind(False, Repair.COPIED),
    "orientation to ignore": Kind(True, Repair.STORED),
    "PNG of another mode": Kind(True, Repair.LEFT_OUT),
    "size mismatch": Kind(True, Repair.LEFT_OUT),
    "wrong size in the JSON": Kind(True, Repair.SIZE),
    "no size in the JSON": Kind(False, Repair.SIZE),
    # The segments of an image
    "damaged segment": Kind(True, Repair.BY_HAND),
    "duplicate segment id": Kind(True, Repair.BY_HAND),
    "unknown category": Kind(True, Repair.BY_HAND),
    "unlisted id": Kind(True, Repair.VOID),
    "empty segment": Kind(True, Repair.DROPPED),
    "duplicate stuff segment": Kind(True, Repair.MERGED),
    "wrong area": Kind(True, Repair.AREA),
    "wrong box": Kind(False, Repair.BOX),
    "iscrowd missing": Kind(True, Repair.CROWD),
    "nothing labelled": Kind(False, Repair.COPIED),
}


class Problem(NamedTuple):
    """One finding: a key of :data:`KINDS`, the file, and what is wrong in it."""

    kind: str
    file: str
    text: str


def shown(value: object, limit: int = 120) -> str:
    """A value of the JSON or a path as one short printable line."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else f"{text[:limit]}..."
