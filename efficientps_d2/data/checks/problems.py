"""The kinds of problems that the check of a data set knows, and how they are told."""

from typing import NamedTuple

# What a repaired copy does about a kind of problem, where nothing is changed.
BY_HAND, LEFT_OUT, COPIED = "leaves it to you", "leaves the picture out", "copies it as it is"


class Kind(NamedTuple):
    """Whether training or evaluation would fail or go wrong, and what a repaired copy does."""

    is_error: bool
    repair: str


KINDS = {
    # The JSON as a whole
    "Cityscapes layout": Kind(True, BY_HAND),
    "damaged category": Kind(True, BY_HAND),
    "duplicate category id": Kind(True, BY_HAND),
    "duplicate category name": Kind(False, BY_HAND),
    "category that differs": Kind(True, BY_HAND),
    "class list": Kind(True, BY_HAND),
    "nothing to learn": Kind(False, BY_HAND),
    "class without segments": Kind(False, BY_HAND),
    "values of fewer bits": Kind(False, BY_HAND),
    "damaged image entry": Kind(True, LEFT_OUT),
    "duplicate image id": Kind(True, LEFT_OUT),
    "duplicate image name": Kind(True, "gives the files different names"),
    "image without annotation": Kind(False, LEFT_OUT),
    "damaged annotation": Kind(True, LEFT_OUT),
    "annotation without image": Kind(True, LEFT_OUT),
    "several annotations": Kind(True, LEFT_OUT),
    "no pictures": Kind(True, BY_HAND),
    "path outside the data set": Kind(True, LEFT_OUT),
    # The files of a picture
    "missing file": Kind(True, LEFT_OUT),
    "unreadable file": Kind(True, LEFT_OUT),
    "image mode that is converted": Kind(False, COPIED),
    "image mode that loses values": Kind(True, LEFT_OUT),
    "image of 16 bits": Kind(False, COPIED),
    "EXIF orientation": Kind(False, COPIED),
    "PNG of another mode": Kind(True, LEFT_OUT),
    "size mismatch": Kind(True, LEFT_OUT),
    "wrong size in the JSON": Kind(True, "takes the size of the files"),
    "no size in the JSON": Kind(False, "takes the size of the files"),
    # The segments of a picture
    "damaged segment": Kind(True, BY_HAND),
    "duplicate segment id": Kind(True, BY_HAND),
    "unknown category": Kind(True, BY_HAND),
    "unlisted id": Kind(True, "makes these pixels void"),
    "empty segment": Kind(True, "drops the segment"),
    "duplicate stuff segment": Kind(True, "merges the segments of one class"),
    "wrong area": Kind(True, "computes the area"),
    "wrong box": Kind(False, "computes the box"),
    "iscrowd missing": Kind(True, "writes iscrowd 0"),
    "nothing labelled": Kind(False, COPIED),
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
