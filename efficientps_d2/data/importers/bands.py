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
        self.folder, self.files, self.bands = folder, {}, 0
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
            InputError: if there is none, or it has another size.
        """
        file = self.files.get(image.stem)
        if file is None:
            raise InputError(f"--bands {self.folder} has no {image.stem}.npy or .tif; add it.")
        *found, bands = load_bands(file, "repair it").shape
        self.bands = self.bands or bands
        if bands != self.bands:
            raise InputError(
                f"{file} has {bands} bands, but others have {self.bands}; give files of the same."
            )
        if tuple(found) != size:
            raise InputError(
                f"{file} is {found[1]} x {found[0]} pixels, but {image} is {size[1]} x {size[0]}; "
                "annotate a picture of the same size."
            )
        return file
