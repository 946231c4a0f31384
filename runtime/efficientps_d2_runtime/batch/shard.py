"""The files of one shard, written while its images are predicted."""

import json
from dataclasses import asdict
from io import BytesIO

from efficientps_d2_runtime.batch import tables
from efficientps_d2_runtime.batch.image_table import ImageSource
from efficientps_d2_runtime.batch.output import (
    ERRORS,
    SEGMENTS,
    SHARDS,
    Output,
    shard_name,
    table_name,
)
from efficientps_d2_runtime.coco import (
    JSON,
    PNGS,
    coco_json,
    panoptic_annotation,
    write_segment_ids,
)
from efficientps_d2_runtime.result import PanopticResult


class ShardWriter:
    """Takes the predictions of a shard in the order of its images; :meth:`finish` completes it."""

    def __init__(self, output: Output, shard: int, categories: list[dict]):
        """
        Args:
            output: it is of.
            shard: its number.
            categories: of COCO, by contiguous id.
        """
        self.folder, self.shard, self.categories = output.folder, shard, categories
        self.place = SHARDS, shard_name(shard)
        self.content = coco_json("images", categories)
        self.segments, self.errors = tables.Rows(tables.SEGMENTS), tables.Rows(tables.ERRORS)
        self.folder.remove_partial(*self.place, deep=True)

    def write_png(self, source: ImageSource, prediction: PanopticResult) -> dict:
        """Write the map of an image; returns its annotation. Several threads may do so."""
        buffer, png = BytesIO(), f"{source.name}.png"
        write_segment_ids(buffer, prediction.panoptic_seg)
        self.folder.write(buffer.getvalue(), *self.place, PNGS, png)
        segments = [asdict(segment) for segment in prediction.segments]
        return panoptic_annotation(png, source.image_id, segments, self.categories)

    def add(self, source: ImageSource, prediction: PanopticResult, annotation: dict) -> None:
        """Add an image whose PNG is written to the tables."""
        height, width = prediction.panoptic_seg.shape
        file_name = source.image if source.row is None else str(source)
        image = {"id": source.image_id, "file_name": file_name, "height": height, "width": width}
        self.content["images"].append(image)
        self.content["annotations"].append(annotation)
        tables.add_segments(self.segments, self.shard, source, prediction, self.categories)

    def add_error(self, source: ImageSource, sentence: str) -> None:
        """Add an image that failed, maybe after an earlier start had predicted it."""
        png = *self.place, PNGS, f"{source.name}.png"
        if self.folder.exists(*png):
            self.folder.remove(*png)
        self.errors.add(self.shard, source, error=sentence)

    def finish(self) -> None:
        """Write JSON and tables, that of the segments last."""
        self.folder.write(json.dumps(self.content).encode(), *self.place, JSON)
        self.folder.write(self.errors.parquet(), ERRORS, table_name(self.shard))
        self.folder.write(self.segments.parquet(), SEGMENTS, table_name(self.shard))
