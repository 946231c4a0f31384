"""Pictures of predictions, and of inputs, truths and predictions side by side."""

import dataclasses
import os

import cv2
import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import detection_utils as utils
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils.video_visualizer import VideoVisualizer
from detectron2.utils.visualizer import ColorMode, Visualizer
from torch import as_tensor

from efficientps_d2.data.coco_panoptic import true_segment_ids
from efficientps_d2.prediction.predictor import Prediction

TASKS = ("panoptic", "instance", "semantic")
CAPTIONS = ("input", "truth", "prediction")
# Pixels of the long side: small images are enlarged, so that labels take less of them.
SCALE_TO = 1024
POLYGON_WIDTH = 2  # Detectron2 takes masks of this width for polygons and fails
MANY_THINGS = 30  # whose labels would cover the picture


class UnclutteredVisualizer(Visualizer):
    """Detectron2's visualizer, without the labels of a crowd."""

    def overlay_instances(self, *, labels=None, **kwargs):
        """As in :class:`Visualizer`."""
        if labels is not None and len(labels) > MANY_THINGS:
            labels = None
        return super().overlay_instances(labels=labels, **kwargs)


class PictureWriter(DatasetEvaluator):
    """Draws the first images of a data set during evaluation and measures nothing."""

    def __init__(self, name: str, folder: str, count: int):
        """
        Args:
            name: name of the data set.
            folder: folder of the pictures, made if needed.
            count: number of pictures.
        """
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
            image = utils.read_image(record["file_name"], format="RGB")
            truth = true_segment_ids(item)
            panels = [
                image,
                draw_panoptic(image, truth, record["segments_info"], self.metadata),
                draw_panoptic(image, *output["panoptic_seg"], self.metadata),
            ]
            name = os.path.splitext(os.path.basename(record["file_name"]))[0]
            picture = side_by_side(panels, CAPTIONS)
            cv2.imwrite(os.path.join(self.folder, f"{name}.png"), picture[:, :, ::-1])


def draw_panoptic(image: np.ndarray, pan_seg, segments_info: list[dict], metadata) -> np.ndarray:
    """Overlay a panoptic result.

    Args:
        image: (H, W, 3) uint8 RGB.
        pan_seg: (H, W) segment ids, array or tensor.
        segments_info: ``id``, ``category_id`` (contiguous) and ``isthing`` of each segment.
        metadata: of the data set.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    things = set(metadata.thing_dataset_id_to_contiguous_id.values())
    segments = [{**s, "isthing": s["category_id"] in things} for s in segments_info]
    if not segments or image.shape[1] == POLYGON_WIDTH:
        return image.copy()
    pan_seg = as_tensor(
        np.asarray(pan_seg.cpu() if hasattr(pan_seg, "cpu") else pan_seg).astype(int)
    )
    visualizer = _visualizer(image, metadata)
    return visualizer.draw_panoptic_seg(pan_seg, segments, area_threshold=1).get_image()


def _visualizer(image: np.ndarray, metadata) -> UnclutteredVisualizer:
    scale = max(1.0, SCALE_TO / max(image.shape[:2]))
    mode = ColorMode.SEGMENTATION
    return UnclutteredVisualizer(image, metadata, scale=scale, instance_mode=mode)


class PredictionPainter:
    """Draws predictions; in a video, an instance keeps its colour from frame to frame."""

    def __init__(self, metadata, video: bool = False):
        """
        Args:
            metadata: names and colours of the classes.
            video: whether the pictures are the frames of a video.
        """
        self.metadata = metadata
        # One for each task, because each remembers the instances of the frame before.
        self.frames = {task: VideoVisualizer(metadata) for task in TASKS} if video else None

    def draw(self, image: np.ndarray, prediction: Prediction, task: str) -> np.ndarray:
        """Overlay a prediction.

        Args:
            image: (H, W, 3) uint8 RGB.
            prediction: of this image.
            task: one of ``TASKS``, or "all" for all of them side by side.

        Returns:
            uint8 RGB; small images are enlarged. One of two pixels' width comes back as it is.
        """
        if task == "all":
            return side_by_side([self.draw(image, prediction, t) for t in TASKS], TASKS)
        if task == "panoptic":
            segments = [dataclasses.asdict(segment) for segment in prediction.segments]
            pan_seg = as_tensor(prediction.panoptic_seg)
            if self.frames and image.shape[1] != POLYGON_WIDTH:
                painter = self.frames[task]
                return painter.draw_panoptic_seg_predictions(image, pan_seg, segments).get_image()
            return draw_panoptic(image, pan_seg, segments, self.metadata)
        if image.shape[1] == POLYGON_WIDTH:
            return image.copy()
        painter = self.frames[task] if self.frames else _visualizer(image, self.metadata)
        frame = (image,) if self.frames else ()
        if task == "instance":
            return painter.draw_instance_predictions(*frame, prediction.instances).get_image()
        return painter.draw_sem_seg(*frame, prediction.sem_seg).get_image()


def side_by_side(panels: list[np.ndarray], captions: tuple[str, ...]) -> np.ndarray:
    """Panels of one picture next to each other (below each other if wide), each with a caption."""
    height, width = max(p.shape[:2] for p in panels)
    framed = []
    for panel, caption in zip(panels, captions, strict=True):
        panel = cv2.resize(panel, (width, height), interpolation=cv2.INTER_LINEAR)
        panel = cv2.copyMakeBorder(panel, 26, 4, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        cv2.putText(
            panel, caption, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA
        )
        framed.append(panel)
    return np.vstack(framed) if width > 1.5 * height else np.hstack(framed)
