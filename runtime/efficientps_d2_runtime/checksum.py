"""A checksum inside a file whose format has none, so that nothing damaged is used."""

import hashlib

MARK = b"sha256 of this file with zeros here: "
BLANK = b"0" * 64  # where the checksum comes, in hexadecimal
METADATA = {"checksum": (MARK + BLANK).decode()}  # of a file that is to be sealed


def seal(content: bytes) -> bytes:
    """The content of a file that holds ``MARK + BLANK`` once, with its checksum."""
    checksum = hashlib.sha256(content).hexdigest().encode()
    return content.replace(MARK + BLANK, MARK + checksum)


def is_sealed(content: bytes) -> bool:
    """Whether a file has the mark of a checksum."""
    return MARK in content


def is_whole(content: bytes) -> bool:
    """Whether the checksum of a file fits; False if it has none."""
    place = content.find(MARK) + len(MARK)
    digest = hashlib.sha256(content[:place])
    digest.update(BLANK)
    digest.update(content[place + len(BLANK) :])
    return is_sealed(content) and content[place : place + len(BLANK)] == digest.hexdigest().encode()
