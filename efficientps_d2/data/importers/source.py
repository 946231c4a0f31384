"""The folder that annotations are imported from: nothing outside it is read."""

import contextlib
import os
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath

from tqdm import tqdm

from efficientps_d2.data.checks.problems import shown
from efficientps_d2.data.faults import raise_faults
from efficientps_d2.data.importers.other_formats import describe
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import IMAGE_SUFFIXES


class Source:
    """A folder of annotations, with what had to be repaired or left out.

    Attributes:
        root: the folder.
        files: all files in it that are not hidden, relative to ``root``, sorted.
        warnings: for each message the places, relative to ``root``, that it is about.
        faults: what makes single images impossible to import.

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
        self.files = sorted(file for file in self._list() if (self.root / file).is_file())
        # File systems and tools write the same letters in different forms of Unicode.
        self._by_path, self._by_name = {}, defaultdict(list)
        for file in self.files:
            self._by_path.setdefault(_normal(file), file)
            self._by_name[_normal(file.name)].append(file)
        self.warnings: dict[str, list[str]] = defaultdict(list)
        self.faults: list[InputError] = []

    def _list(self) -> Iterable[Path]:
        """The files below ``root`` but for those that systems and editors put there."""
        for folder, folders, names in os.walk(self.root):
            folders[:] = [f for f in folders if not f.startswith(".") and f != "__MACOSX"]
            for name in names:
                if not name.startswith("."):
                    yield Path(folder, name).relative_to(self.root)

    def warn(self, message: str, place: str | Path) -> None:
        self.warnings[message].append(str(place))

    @contextlib.contextmanager
    def noting_faults(self) -> Iterator[None]:
        """Note what is wrong with one image and go on, so that a user sees all at once."""
        try:
            yield
        except InputError as error:
            self.faults.append(error)

    def raise_faults(self) -> None:
        """Fail if anything was noted; several faults have a line each."""
        raise_faults(self.faults)

    def namesakes(self, name: str) -> list[Path]:
        """The files of that name in any folder, relative to ``root``."""
        return self._by_name.get(_normal(name), [])

    def find(self, path: str | Path, *folders: Path, place: str = "The source") -> Path | None:
        """The file at ``path`` below the first of ``folders`` that has it, or None.

        Args:
            path: a text as an annotation tool wrote it, where backslashes separate folders, too,
                or the path of a file that is known.
            folders: relative to ``root``; ``root`` itself if none is given.
            place: what names the path, for errors.

        Raises:
            InputError: if the path is absolute, or leads out of ``root``, by ``..`` or by a link.
        """
        parts = path if isinstance(path, Path) else PureWindowsPath(path)
        for folder in folders or (Path(),):
            inside = os.path.normpath(os.path.join(folder, *parts.parts))
            if parts.drive or parts.root or inside.split(os.sep)[0] == os.pardir:
                raise InputError(
                    f"{place} names '{shown(str(path))}', which is not inside {self.root}; put the "
                    "file there and name it relative to the annotations."
                )
            file = self.root / inside
            if not os.path.isfile(file):
                file = self.root / self._by_path.get(_normal(inside), inside)
            if os.path.isfile(file):
                if not file.resolve().is_relative_to(self.root.resolve()):
                    raise InputError(
                        f"{file} is a link out of {self.root}; put the file itself there."
                    )
                return file
        return None

    def find_image(
        self, stem: str | Path, *folders: Path, place: str = "The source"
    ) -> Path | None:
        """As :meth:`find`, for a name without suffix, which may contain dots.

        Raises:
            InputError: also if a folder has several images of that name.
        """
        for folder in folders or (Path(),):
            found = []
            for suffix in dict.fromkeys((*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES))):
                image = self.find(type(stem)(f"{stem}{suffix}"), folder, place=place)
                # Where case does not matter, a.jpg is a.JPG.
                if image and not any(image.samefile(other) for other in found):
                    found.append(image)
            if len(found) > 1:
                raise InputError(
                    f"{place} names the image '{shown(str(stem))}' without suffix, and {found[0]} "
                    f"and {found[1]} both have that name; remove one of them."
                )
            if found:
                return found[0]
        return None

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Files relative to ``root`` whose names end in one of ``suffixes``, in any case."""
        return [file for file in self.files if file.name.lower().endswith(suffixes)]

    def progress(self, items: Sequence) -> Iterable:
        return tqdm(items, desc="importing", unit="image", disable=len(items) < 2)

    def nothing_found(self, what: str) -> InputError:
        """The error for a folder without ``what``; says so if it holds something else."""
        for file in self.files:
            # A file that cannot be read is not what explains the missing annotations.
            with contextlib.suppress(InputError):
                if text := describe(self.find(file)):
                    return InputError(f"{text}.")
        archives = self.with_suffix(".zip")
        if archives:
            return InputError(f"{self.root / archives[0]} is a zip file; unpack it first.")
        return InputError(f"{self.root} holds no {what}; give the folder that the tool exported.")


def _normal(path: str | Path) -> str:
    return unicodedata.normalize("NFC", str(path))
