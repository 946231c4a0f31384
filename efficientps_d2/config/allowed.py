"""What values a config key may have, in words and as a test."""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Allowed(Protocol):
    """A kind of values."""

    @property
    def words(self) -> str:
        """What is allowed, such as "a number above 0", for messages and docs."""

    def holds(self, value: object) -> bool:
        """Whether a value is allowed."""


@dataclass(frozen=True)
class Number:
    """A finite number between two limits, both included unless ``above`` excludes the lower one."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    whole: bool = False
    also: float | None = None  # a value outside the limits with a meaning of its own

    @property
    def words(self) -> str:
        text = "a whole number" if self.whole else "a number"
        if self.low > -math.inf:
            text += f" {'above' if self.above else 'from'} {_plain(self.low)}"
        if self.high < math.inf:
            text += f" {'up ' if self.above else ''}to {_plain(self.high)}"
        return text if self.also is None else f"{text}, or {_plain(self.also)}"

    def holds(self, value):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if value == self.also:
            return True
        if isinstance(value, int) and abs(value) > 2**63:
            return False
        inside = self.low < value <= self.high if self.above else self.low <= value <= self.high
        return inside and math.isfinite(value) and not (self.whole and value != int(value))


@dataclass(frozen=True)
class OneOf:
    """One of several words or numbers."""

    values: tuple

    @property
    def words(self) -> str:
        quoted = [f'"{v}"' if isinstance(v, str) else str(v) for v in self.values]
        return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)

    def holds(self, value):
        return value in self.values


@dataclass(frozen=True)
class Flag:
    """True or False."""

    words = "True or False"

    def holds(self, value):
        return isinstance(value, bool)


@dataclass(frozen=True)
class Text:
    """A text of one line, such as a name or a path."""

    what: str = "a text"
    empty: bool = True

    @property
    def words(self) -> str:
        return f'{self.what}, or ""' if self.empty else self.what

    def holds(self, value):
        if not isinstance(value, str) or not (self.empty or value):
            return False
        return not any(unicodedata.category(letter) == "Cc" for letter in value)


@dataclass(frozen=True)
class Matching:
    """A text of a certain form."""

    pattern: str
    words: str

    def holds(self, value):
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class OrNone:
    """A value of one kind, or none."""

    item: Allowed

    @property
    def words(self) -> str:
        return f"{self.item.words}, or None"

    def holds(self, value):
        return value is None or self.item.holds(value)


@dataclass(frozen=True)
class ListOf:
    """A list or tuple of values of one kind."""

    item: Allowed
    words: str
    shortest: int = 0
    longest: float = math.inf
    distinct: bool = False

    def holds(self, value):
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        if self.distinct and len(set(map(str, value))) < len(value):
            return False
        return self.shortest <= len(value) <= self.longest and all(map(self.item.holds, value))


@dataclass(frozen=True)
class Nested:
    """A list of values of one kind, or of lists of them."""

    item: Allowed
    words: str

    def holds(self, value):
        flat = ListOf(self.item, self.words, shortest=1)
        return flat.holds(value) or ListOf(flat, self.words, shortest=1).holds(value)


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
