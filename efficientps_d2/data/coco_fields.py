"""Fields of COCO's panoptic JSON as tools write them: what can mean only one thing is understood.

Nothing else is changed here: what cannot be understood is left for the reader to name.
"""

import os
import re
from collections import defaultdict
from pathlib import PureWindowsPath

FLAGS = {"0": 0, "false": 0, "1": 1, "true": 1}
DIGITS = re.compile("[0-9]{1,18}", re.ASCII)
HEX_COLOR = re.compile("#([0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)
COLOR_CURE = 'give three numbers from 0 to 255 or "#rrggbb", or leave "color" out'


def understand(content: dict) -> None:
    """Make whole numbers of texts and of fractions such as 3.0 in the lists of a JSON, in place.

    That is "1" or "true" as ``isthing`` and ``iscrowd``, the size of an image, id and area of a
    segment, and ids that refer to a category or an image whose own id is the same number or text.
    """
    lists = {key: _objects(content.get(key)) for key in ("categories", "images", "annotations")}
    for entry in (*lists["categories"], *lists["images"]):
        _replace(entry, "id", _whole)
    for category in lists["categories"]:
        _replace(category, "isthing", _flag)
    for image in lists["images"]:
        for key in ("height", "width"):
            _replace(image, key, _number)
    KnownIds(content).understand(lists["annotations"])


class KnownIds:
    """The ids of categories and images of a JSON, which annotations of other files refer to."""

    def __init__(self, content: dict):
        """
        Args:
            content: with lists of ``categories`` and ``images`` that are understood.
        """
        self._categories, self._images = (
            _ids(_objects(content.get(key))) for key in ("categories", "images")
        )

    def understand(self, annotations: object) -> None:
        """As :func:`understand`, of a list of annotations."""
        for annotation in _objects(annotations):
            _replace(annotation, "image_id", self._images)
            for segment in _objects(annotation.get("segments_info")):
                _replace(segment, "category_id", self._categories)
                for key in ("id", "area"):
                    _replace(segment, key, _number)
                _replace(segment, "iscrowd", _flag)


def read_colors(colors: list) -> list[list[int] | None]:
    """Red, green and blue, 0 to 255, of the colours of all classes; None where one is no colour.

    All colours together show whether they are fractions or numbers up to 255: [1.0, 0, 0] alone can
    be either. Falsy values, for classes without a colour, give None.
    """
    numbers = [_three_numbers(color) for color in colors]
    given = [v for three in numbers if three for v in three]
    fractions = any(isinstance(v, float) for v in given) and max(given) <= 1
    return [three and _bytes(three, fractions) for three in numbers]


def is_inside(path: str, image_root: str, panoptic_root: str) -> bool:
    """Whether a path, links left alone, is in the smallest folder that holds the dataset.

    Where its two folders have only the root of the file system in common, it must be in one of
    them.
    """
    roots = [os.path.abspath(image_root), os.path.abspath(panoptic_root)]
    common, path = os.path.commonpath(roots), os.path.abspath(path)
    allowed = roots if os.path.dirname(common) == common else [common]
    return any(os.path.commonpath([folder, path]) == folder for folder in allowed)


class Files:
    """The files below a folder, found also if a JSON names one with too many or too few folders."""

    def __init__(self, root: str):
        self.root = root
        self._by_name: dict[str, list[tuple[str, ...]]] | None = None  # parts below root

    def find(self, name: str) -> str:
        """The path of a file, also if there is none.

        Where ``name`` leads to no file, that of the only one whose path ends in ``name``, or that
        ``name`` ends in; nothing is looked for outside the folder.
        """
        path = os.path.join(self.root, name)
        parts = PureWindowsPath(name)  # knows both separators
        if os.path.exists(path) or parts.anchor or os.pardir in parts.parts or not parts.name:
            return path
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for folder, _, files in os.walk(self.root):
                below = PureWindowsPath(os.path.relpath(folder, self.root)).parts
                for file in files:
                    self._by_name[file].append((*below, file))
        fitting = [
            found
            for found in self._by_name.get(parts.name, [])
            if all(a == b for a, b in zip(reversed(found), reversed(parts.parts), strict=False))
        ]
        return os.path.join(self.root, *fitting[0]) if len(fitting) == 1 else path


def _objects(entries: object) -> list[dict]:
    entries = entries if isinstance(entries, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def _replace(entry: dict, key: str, read) -> None:
    if key in entry:
        entry[key] = read(entry[key])


def _flag(value: object) -> object:
    if isinstance(value, str):
        return FLAGS.get(value.strip().lower(), value)
    return int(value) if isinstance(value, float) and value in (0, 1) else value


def _number(value: object) -> object:
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value)
    return _whole(value)


def _whole(value: object) -> object:
    """As tools write that know fractions only."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _ids(entries: list[dict]):
    """A function that gives the id of one of ``entries`` for the same id as number or text."""
    known = {e["id"] for e in entries if isinstance(e.get("id"), (int, str))}

    def find(value: object) -> object:
        value = _whole(value)
        if not isinstance(value, (int, str)) or isinstance(value, bool) or value in known:
            return value
        other = str(value) if isinstance(value, int) else _number(value)
        return other if other in known else value

    return find


def _three_numbers(color: object) -> list[float] | None:
    if isinstance(color, str) and (match := HEX_COLOR.fullmatch(color.strip())):
        digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
        return list(bytes.fromhex(digits))
    if not isinstance(color, (list, tuple)) or len(color) != 3:
        return None
    usable = all(type(v) in (int, float) and 0 <= v <= 255 for v in color)
    return color if usable else None


def _bytes(three: list[float], fractions: bool) -> list[int]:
    # A real fraction in it decides, whatever the others are.
    fractions |= max(three) <= 1 and any(v != int(v) for v in three)
    return [round(255 * v if fractions else v) for v in three]
