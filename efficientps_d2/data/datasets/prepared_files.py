"""The two files of a prepared image, and what the panoptic PNG tells.

A segment id says its category and object: ``(index of the category + 1) * 65536 + number``. So a
panoptic PNG tells its own ``segments_info``, and one that is there need not be made again.
"""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.data.datasets.published import (
    LARGEST_NUMBER,
    VOID,
    Frame,
    Labels,
    Published,
    link_or_copy,
    things_of,
)
from efficientps_d2.data.images import save_stored
from efficientps_d2.data.segments import measure_segments, resize_nearest
from efficientps_d2_runtime.coco import write_segment_ids
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.images import (
    DAMAGED,
    IMAGE_FORMATS,
    TURNS,
    orientation_of,
    unreadable,
)


def read_if_whole(panoptic_file: Path) -> np.ndarray | None:
    """Segment ids that are there; None if they are not, or a power failure damaged them."""
    try:
        return read_segment_ids(str(panoptic_file))
    except DAMAGED:
        return None


def write_frame(
    data: Published,
    frame: Frame,
    image_file: Path,
    panoptic_file: Path,
    longest_edge: int | None = None,
) -> np.ndarray:
    """Write both files of a frame; returns its segment ids.

    Args:
        data: its dataset.
        frame: what is written.
        image_file, panoptic_file: where; each appears when it is whole.
        longest_edge: that an image may have.

    Raises:
        InputError: for what is wrong with the frame.
    """
    pixels = data.make_image(frame) if data.make_image else None
    size = data.stored_size
    if pixels is not None:
        size = pixels.shape[:2]
    elif size is None:
        size = _stored_size(frame.image)
    ids = segment_ids(data.read(frame), data.categories, frame.ground_truth)
    if ids.shape != size:
        raise InputError(
            f"{frame.ground_truth} is {ids.shape[1]} x {ids.shape[0]} pixels, but {frame.image} is "
            f"{size[1]} x {size[0]}; unpack both from the same version."
        )
    new_size = data.size or _limited(size, longest_edge)
    with replacing_file(image_file, durable=False) as partial:
        if pixels is not None:
            _write_bands(pixels, partial, image_file.suffix)
        elif new_size != size:
            _write_resized(frame.image, partial, new_size)
        elif data.stored_size is None and _is_turned(frame.image):
            save_stored(frame.image, partial)
        else:
            link_or_copy(frame.image, partial)
    if data.extra:
        folder = panoptic_file.parent.with_name(data.extra.folder)
        file = folder / f"{frame.name}{data.extra.suffix}"
        with replacing_file(file, durable=False) as partial:
            data.extra.write(frame, partial)
    ids = resize_nearest(ids, new_size)
    with replacing_file(panoptic_file, durable=False) as partial:
        write_segment_ids(partial, ids)
    return ids


def _stored_size(file: Path) -> tuple[int, int]:
    """Height and width of an image before EXIF data turn it, as its labels lie."""
    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return image.height, image.width
    except DAMAGED as error:
        raise unreadable(file, error, "unpack it again") from error


def _is_turned(file: Path) -> bool:
    """Whether EXIF data would turn an image against its labels; a PNG is decoded for that."""
    try:
        with Image.open(file, formats=IMAGE_FORMATS) as image:
            return orientation_of(image) in TURNS
    except DAMAGED as error:
        raise unreadable(file, error, "unpack it again") from error


def segment_ids(labels: Labels, categories: list[dict], file: Path) -> np.ndarray:
    """(H, W) int32 segment ids of the labels of an image.

    Raises:
        InputError: if a number of an object is too large for them, naming ``file``.
    """
    largest = int(labels.instances.max())
    if largest > LARGEST_NUMBER or labels.instances.min() < 0:
        raise InputError(
            f"{file} numbers an object {largest}, but a panoptic PNG has room for 0 to "
            f"{LARGEST_NUMBER}; number them anew in each image."
        )
    classes = labels.classes.astype(np.int32)
    numbers = np.where(things_of(categories)[classes], labels.instances, 0)
    return np.where(classes == VOID, 0, (classes + 1 << 16) | numbers).astype(np.int32)


def segments_of(ids: np.ndarray, categories: list[dict]) -> list[dict]:
    """The ``segments_info`` that (H, W) segment ids tell."""
    found = measure_segments(ids)
    segments = []
    for id_, area, box in zip(*(array.tolist() for array in found), strict=True):
        if id_ == 0:
            continue
        category = categories[(id_ >> 16) - 1]
        segments.append(
            {
                "id": id_,
                "category_id": category["id"],
                "area": area,
                "bbox": box,
                "iscrowd": int(category["isthing"] and id_ & LARGEST_NUMBER == 0),
            }
        )
    return segments


def _limited(size: tuple[int, int], longest_edge: int | None) -> tuple[int, int]:
    factor = (longest_edge or max(size)) / max(size)
    return size if factor >= 1 else tuple(max(1, round(edge * factor)) for edge in size)


def _write_resized(source: Path, file: Path, size: tuple[int, int]) -> None:
    height, width = size
    try:
        with Image.open(source, formats=IMAGE_FORMATS) as image:
            format_ = image.format
            image.draft("RGB", (width, height))  # a JPEG is decoded at a half or quarter, fast
            resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    except DAMAGED as error:
        raise unreadable(source, error, "unpack it again") from error
    resized.info.clear()  # of which some versions of Pillow write EXIF data again
    resized.save(file, format=format_, quality=95, compress_level=1)


def _write_bands(pixels: np.ndarray, file: Path, suffix: str) -> None:
    if suffix == ".npy":
        with open(file, "wb") as opened:
            np.save(opened, pixels)
    else:
        options = {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"}
        tifffile.imwrite(file, pixels, **options)
