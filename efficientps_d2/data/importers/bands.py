"""Files of any number of bands in place of the pictures that were annotated."""

from pathlib import Path

from efficientps_d2.data.bands import ARRAY_SUFFIXES, TIFF_SUFFIXES, load_bands
from efficientps_d2_runtime.errors import InputError


class BandFolder:
    """The arrays and TIFFs below a folder, by their names without suffix.

    Raises:
        InputError: if it is no folder, holds none, or two of one name.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise InputError(f"--bands {folder} is no folder; give that of the arrays or TIFFs.")
        self.folder, self.files, self.count = folder, {}, 0
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() not in (*ARRAY_SUFFIXES, *TIFF_SUFFIXES):
                continue
            if other := self.files.get(file.stem):
                raise InputError(
                    f"--bands: {other} and {file} have the same name; take one of them away."
                )
            self.files[file.stem] = file
        if not self.files:
            raise InputError(f"--bands {folder} holds no .npy or .tif file; give another folder.")

    def find(self, image: Path, size: tuple[int, int]) -> Path:
        """The file of the name of an annotated image.

        Args:
            image: that was annotated.
            size: its height and width.

        Raises:
            InputError: if there is none, or it has another size or number of bands.
        """
        file = self.files.get(image.stem)
        if file is None:
            raise InputError(f"--bands {self.folder} has no {image.stem}.npy or .tif; add it.")
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
