"""The tables of an output: a row for each segment, and one for each image that failed."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from efficientps_d2_runtime.batch.image_table import ImageSource
from efficientps_d2_runtime.result import PanopticResult

OF_IMAGE = [
    ("shard", pa.int32()),
    ("image", pa.string()),
    ("row", pa.int64()),
    ("image_id", pa.string()),
]
SEGMENTS = pa.schema(
    [
        *OF_IMAGE,
        ("height", pa.int32()),  # of the image, in pixels
        ("width", pa.int32()),
        ("segment_id", pa.int32()),  # in the PNG
        ("category_id", pa.int64()),  # of the dataset
        ("category", pa.string()),
        ("isthing", pa.bool_()),
        ("score", pa.float32()),
        ("area", pa.int64()),  # pixels
        ("x0", pa.int32()),  # pixels of the box, the last column and row not included
        ("y0", pa.int32()),
        ("x1", pa.int32()),
        ("y1", pa.int32()),
    ]
)
ERRORS = pa.schema([*OF_IMAGE, ("error", pa.string())])


@dataclass
class Rows:
    """Rows of a table that grows."""

    schema: pa.Schema

    def __post_init__(self):
        self.rows = []

    def add(self, shard: int, source: ImageSource, **values) -> None:
        """A row about an image."""
        about = {"shard": shard, "image": source.image, "row": source.row}
        self.rows.append({**about, "image_id": str(source.image_id), **values})

    def parquet(self) -> bytes:
        """The rows as a file, also if there are none."""
        buffer = BytesIO()
        pq.write_table(pa.Table.from_pylist(self.rows, self.schema), buffer)
        return buffer.getvalue()


def add_segments(
    table: Rows,
    shard: int,
    source: ImageSource,
    prediction: PanopticResult,
    categories: list[dict],
) -> None:
    """A row for each segment of an image."""
    height, width = prediction.panoptic_seg.shape
    boxes = segment_boxes(prediction.panoptic_seg, [s.id for s in prediction.segments])
    for segment, box in zip(prediction.segments, boxes.tolist(), strict=True):
        table.add(
            shard,
            source,
            height=height,
            width=width,
            segment_id=segment.id,
            category_id=categories[segment.category_id]["id"],
            category=segment.name,
            isthing=segment.isthing,
            score=segment.score,
            area=segment.area,
            **dict(zip(("x0", "y0", "x1", "y1"), box, strict=True)),
        )


def segment_boxes(pan_seg: np.ndarray, ids: list[int]) -> np.ndarray:
    """The smallest box around each segment.

    Args:
        pan_seg: (H, W) segment ids, from 0.
        ids: of N segments; one without pixels gets zeros.

    Returns:
        (N, 4) int64 of x0, y0, x1, y1; x1 and y1 are the first column and row behind it.
    """
    height, width = pan_seg.shape
    starts = np.ones((height, width), dtype=bool)  # of runs of one segment in a row
    starts[:, 1:] = pan_seg[:, 1:] != pan_seg[:, :-1]
    first = np.flatnonzero(starts)
    after = np.append(first[1:], height * width)
    of_run = pan_seg.ravel()[first]
    rows, left = np.divmod(first, width)
    right = left + after - first
    most = max([0, *ids, int(of_run.max(initial=0))]) + 1
    low = np.full((most, 2), max(height, width), dtype=np.int64)
    high = np.zeros((most, 2), dtype=np.int64)
    np.minimum.at(low, of_run, np.stack([left, rows], axis=1))
    np.maximum.at(high, of_run, np.stack([right, rows + 1], axis=1))
    return np.concatenate([np.minimum(low, high), high], axis=1)[ids].reshape(-1, 4)
