"""One HTML page about the results of ``efficientps-d2 predict-batch``: classes, scores, images."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow as pa

from efficientps_d2.data.coco_panoptic import read_json, read_segment_ids
from efficientps_d2.report.batch_sums import BatchSums, Example, sum_batch
from efficientps_d2.report.charts import score_chart
from efficientps_d2.report.gallery import LONG_SIDE, data_uri, paint_segments
from efficientps_d2.report.page import template
from efficientps_d2_runtime.batch.output import ERRORS, Manifest, Output
from efficientps_d2_runtime.batch.reading import ImageFiles
from efficientps_d2_runtime.batch.storage import Folder
from efficientps_d2_runtime.coco import JSON, PNGS
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.images import read_rgb

GRAY = 160  # of an image that is no longer there


class BatchCard(NamedTuple):
    """An image of the page."""

    group: str  # lowest or random
    image: str
    score: float
    panels: dict[str, str]  # by caption, as data URI
    class_ids: set[int]


def write_batch_report(output: Output, images: int = 6, file: Path | None = None) -> Path:
    """Write a page about an output, with a progress bar.

    Args:
        output: of ``predict-batch``, which may still go on.
        images: that are shown of the lowest scores, and at random.
        file: by default ``report.html`` in the output.

    Returns:
        The path of the page.

    Raises:
        InputError: if the output is not one, or a file is damaged or cannot be written.
    """
    manifest = output.require_manifest()
    if file is None and not output.folder.is_local:
        raise InputError(f"{output} is in object storage; give --output FILE for the page.")
    target = file or Path(output.folder.place("report.html"))
    with replacing_file(target) as partial:
        partial.write_text(make_batch_page(output, manifest, images), encoding="utf-8")
    return target


def make_batch_page(output: Output, manifest: Manifest, images: int) -> str:
    """The HTML; arguments are those of :func:`write_batch_report`."""
    sums = sum_batch(output, manifest, images)
    lowest = [(example, "lowest") for example in sums.lowest]
    others = [(example, "random") for example in sums.random if example not in sums.lowest]
    files = ImageFiles(Folder(manifest.input), manifest.column)
    cards = [_card(output, manifest, files, *choice) for choice in lowest + others]
    shown = set().union(*(card.class_ids for card in cards))
    return template("batch.html.jinja").render(
        name=Path(output.folder.path).name,
        output=str(output),
        manifest=manifest,
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        images=sums.images,
        failed=sums.failed,
        segments=int(sums.segments.sum()),
        classes=class_rows(sums, manifest.categories),
        scores=score_chart(sums.histogram) if sums.segments.any() else "",
        errors=sums.errors,
        errors_folder=output.folder.name(ERRORS),
        cards=cards,
        legend=[manifest.categories[i] for i in sorted(shown)],
    )


def class_rows(sums: BatchSums, categories: list[dict]) -> list[dict]:
    """What was found of each class, and of those that were not."""
    good, pixels = max(sums.images - sums.failed, 1), max(int(sums.areas.sum()), 1)
    return [
        {
            "name": category["name"],
            "kind": "thing" if category["isthing"] else "stuff",
            "of_images": 100 * sums.with_class[i] / good,
            "segments": int(sums.segments[i]),
            "score": sums.scores[i] / sums.segments[i] if sums.segments[i] else None,
            "of_pixels": 100 * sums.areas[i] / pixels,
        }
        for i, category in enumerate(categories)
    ]


def _card(
    output: Output, manifest: Manifest, files: ImageFiles, example: Example, group: str
) -> BatchCard:
    with output.local(example.shard, (JSON,)) as folder:
        content = read_json(folder / JSON, ("annotations",))
    annotation = next(a for a in content["annotations"] if str(a["image_id"]) == example.image_id)
    png = f"{PNGS}/{annotation['file_name']}"
    with output.local(example.shard, (png,)) as folder:
        ids = read_segment_ids(str(folder / png))
    classes = {category["id"]: i for i, category in enumerate(manifest.categories)}
    segments = [
        {**segment, "category_id": classes[segment["category_id"]]}
        for segment in annotation["segments_info"]
    ]
    source = next(s for s in output.images(example.shard) if str(s.image_id) == example.image_id)
    image = _image(files, source, ids.shape)
    scale = min(1.0, LONG_SIDE / max(ids.shape))
    size = tuple(max(1, round(side * scale)) for side in ids.shape[::-1])
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    ids = cv2.resize(ids.astype(np.int32), size, interpolation=cv2.INTER_NEAREST)
    painted = paint_segments(image, ids, segments, [c["color"] for c in manifest.categories])
    panels = {"image": data_uri(image), "prediction": data_uri(painted)}
    return BatchCard(
        group, str(source), example.score, panels, {s["category_id"] for s in segments}
    )


def _image(files: ImageFiles, source, size: tuple[int, int]) -> np.ndarray:
    """The image, or gray if it is no longer there, or holds bands."""
    try:
        with files.file(source) as file:
            image = read_rgb(file)
        if image.shape[:2] == size:
            return image
    except (InputError, OSError, pa.ArrowInvalid):
        pass
    return np.full((*size, 3), GRAY, dtype=np.uint8)
