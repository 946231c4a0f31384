"""Drawing of predictions."""

import dataclasses

import numpy as np
from detectron2.utils.video_visualizer import VideoVisualizer
from torch import as_tensor

from efficientps_d2.prediction.predictor import Prediction
from efficientps_d2.utils.visualizer import (
    POLYGON_WIDTH,
    draw_panoptic,
    make_visualizer,
    side_by_side,
)

TASKS = ("panoptic", "instance", "semantic")


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
        painter = self.frames[task] if self.frames else make_visualizer(image, self.metadata)
        frame = (image,) if self.frames else ()
        if task == "instance":
            return painter.draw_instance_predictions(*frame, prediction.instances).get_image()
        return painter.draw_sem_seg(*frame, prediction.sem_seg).get_image()
