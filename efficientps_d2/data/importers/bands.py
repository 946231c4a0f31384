"""Files of any number of bands in place of the pictures that were annotated."""

from collections import defaultdict
from pathlib import Path

from efficientps_d2.data.bands import ARRAY_SUFFIXES, TIFF_SUFFIXES, load_bands
from efficientps_d2_runtime.errors import InputError


class BandFolder:
    """The arrays and TIFFs below a folder, by their paths and names without suffix.

    Raises:
        InputError: if it is no folder, holds none, or two of one path.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise InputError(f"--bands {folder} is no folder; give that of the arrays or TIFFs.")
        self.folder, self.count = folder, 0
        self.by_path, self.by_name = {}, defaultdict(list)
        self.images = {}  # that have got a file, by the file
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() not in (*ARRAY_SUFFIXES, *TIFF_SUFFIXES):
                continue
            path = file.relative_to(folder).with_suffix("")
            if other := self.by_path.get(path):
                raise InputError(
                    f"--bands: {other} and {file} have the same name; take one of them away."
                )
            self.by_path[path] = file
            self.by_name[file.stem].append(file)
        if not self.by_path:
            raise InputError(f"--bands {folder} holds no .npy or .tif file; give another folder.")

    def find(self, image: Path, root: Path, size: tuple[int, int]) -> Path:
        """The file of an annotated image: of the same folder and name, or the only one of its name.

        Args:
            image: that was annotated.
            root: folder of all annotated images.
            size: its height and width.

        Raises:
            InputError: if there is none, it belongs to several images, or it has another size or
                number of bands.
        """
        file = self._file_of(image, root)
        height, width, count = load_bands(file, "repair it").shape
        if (height, width) != size:
            raise InputError(
                f"{file} is {width} x {height} pixels, but {image} is {size[1]} x {size[0]}; "
                "annotate a picture of the same size."
            )
        self.count = self.count or count
        if count != self.count:
            raise InputError(
                f"{file} has {count} bands, but others have {self.count}; give files of the same."
            )
        return file

    def _file_of(self, image: Path, root: Path) -> Path:
        path = image.relative_to(root).with_suffix("")
        named = self.by_name.get(path.name, [])
        if file := self.by_path.get(path):
            named = [file]
        if not named:
            raise InputError(f"--bands {self.folder} has no {path.name}.npy or .tif; add it.")
        if len(named) > 1:
            raise InputError(
                f"--bands: {named[0]} and {named[1]} have the name of {image}; put that of the "
                f"image into {self.folder / path.parent}, or rename the image and its file."
            )
        other = self.images.setdefault(named[0], image)
        if other != image:
            raise InputError(
                f"--bands: {named[0]} has the name of {other} and of {image}; rename one of these "
                "with its annotation, and give each a file of its name."
            )
        return named[0]
