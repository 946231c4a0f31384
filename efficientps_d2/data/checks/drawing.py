"""Images of a checked dataset, drawn beside their ground truth."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.data.catalog import Metadata
from panopticapi.utils import rgb2id
from PIL import Image

from efficientps_d2.data.bands import read_shown
from efficientps_d2.data.checks.dataset import CheckResult
from efficientps_d2.data.checks.image import unusable
from efficientps_d2.data.checks.listing import ListedImage, Listing
from efficientps_d2.data.checks.problems import KINDS, Repair
from efficientps_d2.data.checks.reading import read_ground_truth
from efficientps_d2.data.coco_panoptic import set_classes
from efficientps_d2.data.lidar.drawing import Labelled, draw_scan, is_scan
from efficientps_d2.utils.visualizer import draw_panoptic, side_by_side
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.images import decode

GROUND_TRUTH = "ground truth"


def _metadata(listing: Listing) -> Metadata:
    entries = [c for c in listing.content["categories"] if isinstance(c, dict)]
    colors = {str(c.get("id")): c.get("color") for c in entries}
    categories = [
        {"id": id_, "color": colors.get(str(id_)), **c._asdict()}
        for id_, c in listing.categories.items()
    ]
    metadata = Metadata(name=listing.location.name)
    set_classes(metadata, categories, listing.location.panoptic_json)
    return metadata


def _read(sample: ListedImage, bands: Sequence[int]) -> np.ndarray:
    if bands:
        return read_shown(sample.image_file, bands)
    return decode(sample.image_file, sample.image_file, not sample.stored_pixels).pixels


def draw_images(
    listing: Listing,
    result: CheckResult,
    count: int,
    folder: str,
    bands: Sequence[int] = (),
) -> int:
    """Draw images beside their ground truth, evenly spread over the dataset.

    Args:
        listing: of the dataset.
        result: of its check; images without usable files are not drawn.
        count: number of images.
        folder: made if needed; images of the same name are replaced.
        bands: see :func:`read_shown`.

    Returns:
        The number of images written.

    Raises:
        InputError: if there are no categories or too many.
    """
    metadata = _metadata(listing)
    table = metadata.stuff_dataset_id_to_contiguous_id
    usable = [
        sample
        for sample, kinds in zip(listing.images, result.kinds, strict=True)
        if Repair.LEFT_OUT not in {KINDS[kind].repair for kind in kinds}
    ]
    chosen = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    os.makedirs(folder, exist_ok=True)
    for sample in (usable[i] for i in chosen):
        gt = rgb2id(read_ground_truth(sample.panoptic_file, []))
        segments = [
            {**segment, "category_id": table[segment["category_id"]]}
            for segment in sample.annotation["segments_info"]
            if unusable(segment, set(), listing.categories) is None
        ]
        if is_scan(sample.image_file):
            drawn = draw_scan(sample.image_file, [Labelled(GROUND_TRUTH, gt, segments)], metadata)
        else:
            image = _read(sample, bands)
            panels = [image, draw_panoptic(image, gt, segments, metadata)]
            drawn = side_by_side(panels, ("image", GROUND_TRUTH))
        with replacing_file(Path(folder, f"{Path(sample.image_file).stem}.png")) as partial:
            Image.fromarray(drawn).save(partial, format="PNG")
    return len(chosen)
