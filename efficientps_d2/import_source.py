"""The folder that annotations are imported from: nothing outside it is read."""

import contextlib
import itertools
import json
import os
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path, PureWindowsPath
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException
from PIL import Image, ImageOps
from tqdm import tqdm

from .errors import InputError, one_line

# Formats that only hold pixels; others, such as EPS, would start programs.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif")
ORIENTATION = 0x0112  # EXIF tag
# What Pillow raises for damaged files.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class Source:
    """A folder of annotations, with what had to be repaired or left out.

    Attributes:
        root: the folder.
        files: all files in it, relative to ``root``, sorted.
        warnings: for each message the places, relative to ``root``, that it is about.

    Raises:
        InputError: if the folder does not exist, or is a file.
    """

    def __init__(self, folder: str | Path):
        self.root = Path(folder)
        if self.root.is_file():
            if zipfile.is_zipfile(self.root):
                raise InputError(f"{self.root} is a zip file; unpack it and give the folder.")
            raise InputError(f"{self.root} is a file; give the folder that it lies in.")
        if not self.root.is_dir():
            raise InputError(f"{self.root} does not exist; give the folder of the annotations.")
        found = [Path(folder, name) for folder, _, names in os.walk(self.root) for name in names]
        self.files = sorted(file.relative_to(self.root) for file in found if file.is_file())
        self.by_name = defaultdict(list)
        for file in self.files:
            self.by_name[file.name].append(file)
        self.warnings: dict[str, list[str]] = defaultdict(list)

    def warn(self, message: str, place: str | Path) -> None:
        self.warnings[message].append(str(place))

    def find(self, path: str | Path, *folders: Path) -> Path | None:
        """The file at ``path`` below the first of ``folders`` that has it, or None.

        Args:
            path: a text as an annotation tool wrote it, where backslashes separate folders, too,
                or the path of a file that is known.
            folders: relative to ``root``; ``root`` itself if none is given.

        Raises:
            InputError: if the path is absolute, or leads out of ``root``, by ``..`` or by a link.
        """
        parts = path if isinstance(path, Path) else PureWindowsPath(path)
        for folder in folders or (Path(),):
            inside = os.path.normpath(os.path.join(folder, *parts.parts))
            if parts.drive or parts.root or inside.split(os.sep)[0] == os.pardir:
                raise InputError(
                    f"The annotations name {str(path)!r}, which is not inside {self.root}; put the "
                    "file there and name it relative to the annotations."
                )
            file = self.root / inside
            if os.path.isfile(file):
                if not file.resolve().is_relative_to(self.root.resolve()):
                    raise InputError(
                        f"{file} is a link out of {self.root}; put the file itself there."
                    )
                return file
        return None

    def find_image(self, stem: str | Path, *folders: Path) -> Path | None:
        """As :meth:`find`, for a name without suffix."""
        for suffix in itertools.chain(IMAGE_SUFFIXES, map(str.upper, IMAGE_SUFFIXES)):
            if image := self.find(type(stem)(f"{stem}{suffix}"), *folders):
                return image
        return None

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Files relative to ``root`` whose names end in one of ``suffixes``, in any case."""
        return [file for file in self.files if file.name.lower().endswith(suffixes)]

    def progress(self, items: Sequence) -> Iterable:
        return tqdm(items, desc="importing", unit="picture", disable=len(items) < 2)

    def nothing_found(self, what: str) -> InputError:
        """The error for a folder without ``what``; says so if it holds boxes instead."""
        for file in self.files:
            if tool := self._box_format(file):
                return InputError(
                    f"{self.root / file} holds boxes ({tool}), which do not tell which pixels "
                    "belong to an object, so no panoptic truth can be made of them; use them to "
                    "train or evaluate a detector with Detectron2's own detection configs."
                )
        archives = self.with_suffix(".zip")
        if archives:
            return InputError(f"{self.root / archives[0]} is a zip file; unpack it first.")
        return InputError(f"{self.root} holds no {what}; give the folder that the tool exported.")

    def _box_format(self, file: Path) -> str | None:
        """The format of a file that holds boxes only, None for all others."""
        readers = {".xml": _is_voc_boxes, ".json": _is_create_ml, ".txt": _is_yolo}
        is_boxes = readers.get(file.suffix.lower())
        # A file that cannot be read is not what explains the missing annotations.
        with contextlib.suppress(InputError):
            if is_boxes and is_boxes(self.find(file)):
                return {".xml": "Pascal VOC", ".json": "CreateML", ".txt": "YOLO"}[
                    file.suffix.lower()
                ]
        return None


def _is_voc_boxes(file: Path) -> bool:
    root = load_xml(file)
    return root.tag == "annotation" and root.find("object/bndbox") is not None


def _is_create_ml(file: Path) -> bool:
    content = load_json(file)
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and isinstance(first.get("annotations"), list)


def _is_yolo(file: Path) -> bool:
    words = load_text(file).partition("\n")[0].split()
    try:
        return len(words) == 5 and int(words[0]) >= 0 and all(float(w) <= 1 for w in words[1:])
    except ValueError:
        return False


def load_text(file: Path) -> str:
    """The UTF-8 text of a file, with or without byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not in UTF-8 ({error}); save it in UTF-8.") from error


def load_json(file: Path):
    try:
        return json.loads(load_text(file))
    except RecursionError as error:
        raise InputError(f"{file} is nested too deeply; export it again.") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{file} is not valid JSON ({error}); export it again.") from error
    except InputError:
        raise
    except ValueError as error:  # an integer of more digits than Python converts
        raise InputError(f"{file} holds an absurd number ({error}); repair it.") from error


def load_xml(file: Path) -> Element:
    """The root of an XML file; entities, which could read other files, are refused."""
    try:
        return defusedxml.ElementTree.parse(file).getroot()
    except DefusedXmlException as error:
        raise InputError(
            f"{file} defines XML entities; remove them, no tool needs them."
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise InputError(f"{file} is not valid XML ({error}); export it again.") from error


def load_image(file: Path | BytesIO, name: str | Path, formats=IMAGE_FORMATS) -> Image.Image:
    """A fully decoded image, as it is stored, with its ``format``.

    Args:
        file: what is read.
        name: names it in errors.
        formats: Pillow's names of the formats that are allowed.
    """
    try:
        with Image.open(file, formats=formats) as image:
            image.load()
            return image
    except DAMAGED as error:
        reason = one_line(error)
        raise InputError(
            f"{name} cannot be read as an image ({reason}); repair it or remove it with its "
            "annotation."
        ) from error


def load_upright(file: Path) -> tuple[Image.Image, str | None]:
    """An image of 8 bits as annotation tools show it, and its format if that turned it."""
    image = load_image(file, file)
    if image.mode[0] in "IF":
        raise InputError(f"{file} has more than 8 bits per pixel; convert it to 8-bit RGB.")
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except DAMAGED:  # viewers ignore damaged tags, too
        orientation = 1
    if orientation not in range(2, 9):
        return image, None
    return ImageOps.exif_transpose(image), "JPEG" if image.format == "MPO" else image.format
