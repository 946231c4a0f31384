"""A network in one ONNX file: an image goes in, what it says of it comes out."""

import math
import re
from collections.abc import Sequence
from numbers import Real
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from efficientps_d2_runtime.drawing import draw_panoptic
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.images import (
    DAMAGED,
    read_rgb,
    require_format,
    rgb_of_array,
    size_of,
    unreadable,
)
from efficientps_d2_runtime.memory import MARGIN, free_memory
from efficientps_d2_runtime.network_file import (
    EXPORT,
    OUTPUTS,
    SHOWN,
    categories_of,
    divisor_of,
    is_sound,
    need_of,
    open_session,
    options_of_run,
    read_metadata,
    resize_of,
    threshold_of,
)
from efficientps_d2_runtime.prediction import Prediction
from efficientps_d2_runtime.result import Segment, listed

ImageInput = np.ndarray | Image.Image | str | Path
MOST_PIXELS = 2**62
NO_MEMORY = re.compile("alloc|out of memory", re.IGNORECASE)  # in an error of ONNX Runtime


def load(path: str | Path, threads: int = 0) -> "Network":
    """The network of a file that ``efficientps-d2 export --format onnx`` has written.

    Args:
        path: the file.
        threads: of ONNX Runtime; 0 for one of each core.

    Raises:
        InputError: if it cannot be read, is of another program or a later format, or ``threads`` is
            negative.
    """
    return Network(path, threads)


class Network:
    """Predicts images; ``categories`` are its classes, in COCO's form, by contiguous id."""

    def __init__(self, path: str | Path, threads: int = 0):
        """See :func:`load`."""
        self.path = path
        self.session = open_session(Path(path), threads)
        metadata, outputs = read_metadata(path, self.session)
        self.categories = categories_of(path, metadata)
        self.eight_bits = metadata.get("eight_bits", "")  # what they cost, if it computes in them
        self.resize = resize_of(path, metadata)  # pixels of the shorter and the longer side, or 0
        self.divisor = divisor_of(path, metadata)  # of the sides of what the network computes on
        self.need = need_of(metadata, len(self.categories))
        self.score_threshold = threshold_of(path, metadata)
        if missing := [name for name in OUTPUTS if name not in outputs]:
            raise InputError(f"{path} gives no {missing[0]}; write it again by {EXPORT}.")

    def __str__(self) -> str:
        names = [category["name"] for category in self.categories]
        eight_bits = f", in 8 bits ({self.eight_bits})" if self.eight_bits else ""
        return f"{len(names)} classes ({listed(names)}){eight_bits}"

    def __call__(
        self,
        images: ImageInput | Sequence[ImageInput],
        image_format: str = "BGR",
        score_threshold: float | None = None,
        overlap_threshold: float | None = None,
        stuff_area_limit: int | None = None,
    ) -> Prediction | list[Prediction]:
        """Predict an image, or one after the other.

        Args:
            images: the path of a file, a Pillow image, an array (H, W, 3) uint8 in
                ``image_format``, or a sequence of these.
            image_format: of arrays: "BGR", as OpenCV reads and ``efficientps_d2.Predictor`` takes,
                or "RGB".
            score_threshold: of instances, from 0 to 1; that of the file by default.
            overlap_threshold: the share of an instance that must be visible; as before.
            stuff_area_limit: pixels of the smallest stuff; as before.

        Raises:
            InputError: if a file cannot be read, an array has another shape or type, or there is
                too little memory.
        """
        require_format(image_format)
        given = {
            "score_threshold": _number("score_threshold", score_threshold, 1),
            "overlap_threshold": _number("overlap_threshold", overlap_threshold, 1),
            "stuff_area_limit": _number(
                "stuff_area_limit", stuff_area_limit, MOST_PIXELS, whole=True
            ),
        }
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(images, list | tuple):
            return [self._predict(image, image_format, given) for image in images]
        return self._predict(images, image_format, given)

    def draw(
        self, image: str | Path | Image.Image | np.ndarray, prediction: Prediction
    ) -> np.ndarray:
        """The panoptic map over an image, as uint8 RGB; see :func:`draw_panoptic`.

        Args:
            image: as for a prediction; arrays (H, W, 3) are RGB.
            prediction: of it.
        """
        return draw_panoptic(_rgb(image, "RGB"), prediction, self.categories)

    def read(self, file: str | Path) -> np.ndarray:
        """(H, W, 3) uint8 RGB of an image.

        Raises:
            InputError: if it cannot be read or, before it is decoded, if there is too little memory
                to predict it.
        """
        if size := size_of(file):
            self.require_memory(*size)
        return read_rgb(file)

    def _predict(
        self, given: ImageInput, image_format: str, inputs: dict[str, np.ndarray]
    ) -> Prediction:
        is_file = isinstance(given, str | Path)
        image = self.read(given) if is_file else _rgb(given, image_format)
        self.require_memory(*image.shape[:2])
        try:
            values = self.session.run(list(OUTPUTS), {"image": image, **inputs}, options_of_run())
        except Exception as error:  # ONNX Runtime has many kinds, with no base of their own
            height, width = image.shape[:2]
            cure = "give a smaller one" if NO_MEMORY.search(str(error)) else "write the file again"
            raise InputError(
                f"ONNX Runtime failed on an image of {height} x {width} pixels "
                f"({one_line(error)[:SHOWN]}); {cure}."
            ) from error
        found = dict(zip(OUTPUTS, values, strict=True))
        self._require_sound(found, image.shape[:2])
        columns = [found[f"segment_{name}"].tolist() for name in ("classes", "isthing", "scores")]
        rows = zip(*columns, found["segment_areas"].tolist(), strict=True)
        segments = [
            Segment(number, class_id, self.categories[class_id]["name"], isthing, score, area)
            for number, (class_id, isthing, score, area) in enumerate(rows, start=1)
        ]
        return Prediction(
            found["panoptic_seg"],
            segments,
            found["sem_seg"],
            *(found[name] for name in ("boxes", "scores", "classes", "mask_logits")),
        )

    def _require_sound(self, found: dict[str, np.ndarray], size: tuple[int, int]) -> None:
        """Fail for outputs that no network of this project gives: a file may be of anybody."""
        if not is_sound(found, size, len(self.categories)):
            raise InputError(f"{self.path} says what no network can; write it again by {EXPORT}.")

    def computed_pixels(self, height: int, width: int) -> int:
        """Pixels on which the network computes, of an image that it resizes and pads."""
        shortest, longest = self.resize
        scale = min(shortest / min(height, width), longest / max(height, width)) if shortest else 1
        divisor = self.divisor
        rows, columns = (
            divisor * math.ceil(side * scale / divisor - 1e-6) for side in (height, width)
        )
        return max(rows, divisor) * max(columns, divisor)

    def most_pixels(self, memory: float) -> int:
        """Of an image whose prediction takes no more bytes than ``memory``; 0 if none does."""
        shortest, longest = self.resize
        if shortest and self.need.total(self.computed_pixels(shortest, longest), 0) > memory:
            return 0
        of_pixels = memory / MARGIN - self.need.fixed
        of_network = 0 if shortest else self.need.network_pixel  # or it has a largest size
        return int(max(of_pixels, 0) / max(of_network, self.need.image_pixel, 1))

    def require_memory(self, height: int, width: int) -> None:
        """
        Raises:
            InputError: if there is too little memory for an image of this size, in pixels.
        """
        computed, free = self.computed_pixels(height, width), free_memory()
        needed = self.need.total(computed, height * width)
        if free is None or needed <= free:
            return
        cure = "give a smaller one"
        if self.resize[0] and self.need.total(computed, 0) > free:  # it would be resized, too
            cure = "end other programs, or take a computer that has more"
        raise InputError(
            f"An image of {height} x {width} pixels needs about {needed / 1e9:.1f} GB of memory, "
            f"and {free / 1e9:.1f} are free; {cure}."
        )


def _number(name: str, value: float | None, most: int, whole: bool = False) -> np.ndarray | None:
    """A threshold from 0 to ``most`` as the file takes it: float32, or int64 if it is whole."""
    if value is None:
        return None
    if isinstance(value, Real) and 0 <= value <= most and (not whole or value == int(value)):
        return np.asarray(value, np.int64 if whole else np.float32)
    kind = "a whole number" if whole else "a number"
    raise InputError(f"{name} is {value!r}; give {kind} from 0 to {most}.")


def _rgb(image: ImageInput, image_format: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    if isinstance(image, str | Path):
        return read_rgb(image)
    if isinstance(image, Image.Image):
        if image.mode[0] in "IF":
            raise InputError(
                f"An image of Pillow has the mode {image.mode}; give its path instead."
            )
        try:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except DAMAGED as error:
            raise unreadable("An image of Pillow", error, "give another") from error
    return np.ascontiguousarray(rgb_of_array(image, image_format, "an array, a Pillow image"))
