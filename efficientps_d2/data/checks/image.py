"""Check one image: its image and its panoptic PNG against the JSON."""

from typing import NamedTuple

import numpy as np
from panopticapi.utils import rgb2id

from efficientps_d2.data.bands import BANDS
from efficientps_d2.data.checks.categories import is_id
from efficientps_d2.data.checks.listing import ListedImage
from efficientps_d2.data.checks.problems import Problem, shown
from efficientps_d2.data.checks.reading import read_annotated, read_ground_truth
from efficientps_d2.data.segments import Segments, measure_segments
from efficientps_d2_runtime.images import TURNS, Decoded

MAX_SEGMENT_ID = 256**3 - 1
REMOVE_TAG = "add --stored-pixels, and --fix for a copy without the tag"


class ImageReport(NamedTuple):
    """Problems and small statistics of one image; sizes in pixels of the panoptic PNG."""

    problems: list[Problem]
    size: tuple[int, int] | None = None  # height, width; None if the PNG could not be used
    classes: dict = {}  # category id: [segments, pixels]
    things: list[float] = []  # sqrt(box area) of each thing that is no crowd
    stuff: list[int] = []  # area of each stuff segment
    peak_of_16_bits: int | None = None  # largest value of the upper 8 bits; None of 8-bit images
    bands: np.ndarray | None = None  # (3, C) float64; see Statistics


def check_image(sample: ListedImage, categories: dict, image_format: str = "RGB") -> ImageReport:
    """Read both files of an image and compare them with the JSON.

    Args:
        sample: the files, and what the JSON says of them.
        categories: :class:`Category` by dataset id.
        image_format: ``INPUT.FORMAT`` of the training.
    """
    problems: list[Problem] = []
    image = read_annotated(sample.image_file, problems, not sample.stored_pixels, image_format)
    pan_seg = read_ground_truth(sample.panoptic_file, problems)
    report = ImageReport(problems)
    if image is not None:
        _check_json_size(sample, image.pixels.shape[:2], problems)
        if image.has_16_bits:
            report = report._replace(peak_of_16_bits=int(image.pixels.max()))
        if image_format == BANDS:
            report = report._replace(bands=_measure_bands(sample, image.pixels, problems))
    if pan_seg is None:
        return report
    if image is not None:
        _check_sizes(sample, image, pan_seg.shape[:2], problems)
    segments = measure_segments(rgb2id(pan_seg))
    found = _check_segments(sample, segments, categories, problems)
    peak, bands = report.peak_of_16_bits, report.bands
    return found._replace(size=pan_seg.shape[:2], peak_of_16_bits=peak, bands=bands)


def _measure_bands(sample: ListedImage, pixels: np.ndarray, problems: list[Problem]) -> np.ndarray:
    """Number, mean and squared deviations of the values of each band, without NaN."""
    there = ~np.isnan(pixels)
    counts = there.sum(axis=(0, 1))
    empty = int((counts == 0).sum())
    if empty or not (there.all() or sample.has_holes):
        share = 1 - there.mean()
        text = f"has no data in {share:.1%} of its values: they count as the mean of their band"
        if empty:
            text = f"has no data in {empty} of its {len(counts)} bands"
        problems.append(Problem("pixels without data", shown(sample.image_file), text))
    values = np.where(there, pixels, 0).astype(np.float64)
    means = values.sum(axis=(0, 1)) / np.maximum(counts, 1)
    deviations = np.where(there, values - means, 0)
    return np.stack([counts, means, (deviations**2).sum(axis=(0, 1))])


def _check_json_size(sample: ListedImage, size: tuple[int, int], problems: list[Problem]) -> None:
    stated = sample.image.get("height"), sample.image.get("width")
    if stated == (None, None):
        problems.append(
            Problem("no size in the JSON", shown(sample.image_file), "has no height and width")
        )
    elif stated != size:
        height, width = stated
        text = f"is {size[1]} x {size[0]} pixels, but {shown(width)} x {shown(height)} in the JSON"
        problems.append(Problem("wrong size in the JSON", shown(sample.image_file), text))


def _check_sizes(
    sample: ListedImage, image: Decoded, size: tuple[int, int], problems: list[Problem]
) -> None:
    """Compare the size of an image with that of its ground truth, also before it was turned."""
    (height, width), (h, w) = size, image.pixels.shape[:2]
    if size != (h, w):
        text = f"is {width} x {height} pixels, but {shown(sample.image_file)} is {w} x {h}"
        problems.append(Problem("size mismatch", shown(sample.panoptic_file), text))
    if image.orientation not in TURNS or size != image.stored_size:
        return
    text = f"has the EXIF orientation {image.orientation}, by which it is turned"
    if sample.stored_pixels:
        text += " in training, though its ground truth is not"
        problems.append(Problem("orientation to ignore", shown(sample.image_file), text))
        return
    if size != (h, w):
        text += f", but its ground truth has the size of the stored pixels: {REMOVE_TAG}"
    else:
        text += f": if its ground truth was drawn on the stored pixels, {REMOVE_TAG}; otherwise "
        text += "save the image upright, which ends this warning"
    problems.append(Problem("EXIF orientation", shown(sample.image_file), text))


def _check_segments(
    sample: ListedImage, found: Segments, categories: dict, problems: list[Problem]
) -> ImageReport:
    """Compare the segments of the JSON with those of the PNG, and count them."""
    file = shown(sample.panoptic_file)
    index = {id_: i for i, id_ in enumerate(found.ids.tolist())}
    report, listed = ImageReport(problems, classes={}, things=[], stuff=[]), set()
    for segment in sample.annotation["segments_info"]:
        wrong = unusable(segment, listed, categories)
        if isinstance(segment, dict) and is_id(segment.get("id")):
            listed.add(segment["id"])
        if wrong:
            problems.append(Problem(wrong[0], file, wrong[1]))
            continue
        category = categories[segment["category_id"]]
        title = f"segment {segment['id']} ({category.name})"
        if segment["id"] not in index:
            problems.append(Problem("empty segment", file, f"{title} has no pixels in the PNG"))
            continue
        i = index[segment["id"]]
        area, box = int(found.areas[i]), found.boxes[i].tolist()
        problems += _wrong_values(segment, area, box, file, title)
        count = report.classes.setdefault(segment["category_id"], [0, 0])
        count[0] += 1
        count[1] += area
        if not category.isthing:
            report.stuff.append(area)
            if count[0] == 2:
                text = f"{category.name} has several segments; each stuff class can have one"
                problems.append(Problem("duplicate stuff segment", file, text))
        elif not segment.get("iscrowd"):
            report.things.append(float(box[2] * box[3]) ** 0.5)
    unlisted = [id_ for id_ in index if id_ not in listed and id_ != 0]
    if unlisted:
        pixels = sum(int(found.areas[index[id_]]) for id_ in unlisted)
        few = ", ".join(map(str, unlisted[:5])) + (", ..." if len(unlisted) > 5 else "")
        text = f"ids with {pixels} pixels are not in the JSON: {few}"
        problems.append(Problem("unlisted id", file, text))
    if not report.classes:
        problems.append(Problem("nothing labelled", file, "has no pixel of a known class"))
    return report


def unusable(segment: object, listed: set, categories: dict) -> tuple[str, str] | None:
    """Kind and text of what makes a segment of the JSON unusable; ``listed`` are ids before it."""
    if not isinstance(segment, dict):
        return "damaged segment", f"segment {shown(segment)} is no object"
    id_, category = segment.get("id"), segment.get("category_id")
    if type(id_) is not int or not 0 < id_ <= MAX_SEGMENT_ID:
        text = f"is no whole number from 1 to {MAX_SEGMENT_ID}"
        return "damaged segment", f"the id {shown(id_)} of a segment {text}"
    if segment.get("iscrowd") not in (None, 0, 1) or not is_id(category):
        text = f"segment {id_} needs a category_id, and 0 or 1 as iscrowd"
        return "damaged segment", f"{text}: {shown(segment)}"
    if id_ in listed:
        return "duplicate segment id", f"two segments have the id {id_}"
    if category not in categories:
        text = f"which the categories do not list: segment {id_}"
        return "unknown category", f"has category {shown(category)}, {text}"
    return None


def _wrong_values(segment: dict, area: int, box: list[int], file: str, title: str) -> list[Problem]:
    problems = []
    if segment.get("area") != area:
        stated = shown(segment.get("area", "missing"))
        text = f"{title} has {area} pixels, but its area is {stated}"
        problems.append(Problem("wrong area", file, text))
    if "bbox" in segment and segment["bbox"] != box:
        text = f"{title} has the box {box}, but its bbox is {shown(segment['bbox'])}"
        problems.append(Problem("wrong box", file, text))
    if segment.get("iscrowd") is None:
        text = f"{title} has no iscrowd, which the evaluation needs"
        problems.append(Problem("iscrowd missing", file, text))
    return problems
