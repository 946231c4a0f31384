"""Images beside ground truth and prediction that an evaluation leaves."""

import os
from collections.abc import Sequence

import cv2
import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator

from efficientps_d2.data.bands import read_shown
from efficientps_d2.data.coco_panoptic import true_segment_ids
from efficientps_d2.data.lidar.drawing import Labelled, draw_scan, is_scan
from efficientps_d2.utils.instance_colors import shades_of_both
from efficientps_d2.utils.visualizer import draw_panoptic, side_by_side, thing_segments

CAPTIONS = ("image", "ground truth", "prediction")


class ImageWriter(DatasetEvaluator):
    """Draws the first images of a dataset during evaluation and measures nothing."""

    def __init__(self, name: str, folder: str, count: int, bands: Sequence[int] = ()):
        """
        Args:
            name: name of the dataset.
            folder: folder of the images, made if needed.
            count: number of images.
            bands: see :func:`read_shown`.
        """
        self.bands = bands
        self.metadata = MetadataCatalog.get(name)
        self.folder = folder
        records = DatasetCatalog.get(name)
        # Evenly spread, so that they do not all come from one city or sequence.
        chosen = np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int)
        self.records = {records[i]["file_name"]: records[i] for i in chosen}
        os.makedirs(folder, exist_ok=True)

    def process(self, inputs, outputs):
        """Draw what was chosen; see :class:`DatasetEvaluator`."""
        for item, output in zip(inputs, outputs, strict=True):
            record = self.records.get(item["file_name"])
            if record is None:
                continue
            pan_seg, segments = output["panoptic_seg"]
            maps = [
                (true_segment_ids(item), record["segments_info"]),
                (pan_seg.cpu().numpy(), segments),
            ]
            if is_scan(record["file_name"]):
                titled = [Labelled(title, *m) for title, m in zip(CAPTIONS[1:], maps, strict=True)]
                sample = draw_scan(record["file_name"], titled, self.metadata)
            else:
                sample = self._draw(record["file_name"], maps, "sem_seg" in output)
            name = os.path.splitext(os.path.basename(record["file_name"]))[0]
            cv2.imwrite(os.path.join(self.folder, f"{name}.png"), sample[:, :, ::-1])

    def _draw(self, file: str, maps: list, has_stuff: bool) -> np.ndarray:
        image = read_shown(file, self.bands)
        panels = [image]
        for (ids, segments), colors, stuff in zip(
            maps, self._colors(maps), (True, has_stuff), strict=True
        ):
            panels.append(draw_panoptic(image, ids, segments, self.metadata, colors, stuff))
        return side_by_side(panels, CAPTIONS)

    def _colors(self, maps: list[tuple[np.ndarray, list[dict]]]) -> tuple[list, list]:
        """Colours of the things of ground truth and prediction: an object has one in both."""
        of_both = []
        for ids, segments in maps:
            things = thing_segments(segments, self.metadata)
            of_both += [[ids == s["id"] for s in things], [s["category_id"] for s in things]]
        return shades_of_both(self.metadata.stuff_colors, *of_both)
