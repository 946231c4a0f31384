"""Drawing of predictions."""

import math

import numpy as np
from detectron2.utils.visualizer import Visualizer

from efficientps_d2.prediction.colors import frame_colors, image_colors, things_of
from efficientps_d2.prediction.result import Prediction
from efficientps_d2.utils.visualizer import (
    POLYGON_WIDTH,
    FrameVisualizer,
    labelled,
    make_visualizer,
    overlay_panoptic,
    side_by_side,
)
from efficientps_d2_runtime.drawing import hatch
from efficientps_d2_runtime.errors import InputError

TASKS = ("panoptic", "instance", "semantic")
PIXELS, THINGS = 16e6, 64  # of the largest drawing; of more things it is smaller


class PredictionPainter:
    """Draws predictions; an instance has one colour in all layers.

    In a video it has it in all frames, and labels do not cover small objects.
    """

    def __init__(self, metadata, video: bool = False):
        """
        Args:
            metadata: names and colours of the classes.
            video: whether the images are the frames of a video, and the predictions of
                ``Tracker.follow``.
        """
        self.metadata, self.video = metadata, video

    def draw(self, image: np.ndarray, prediction: Prediction, task: str) -> np.ndarray:
        """Overlay a prediction.

        Args:
            image: (H, W, 3) uint8 RGB.
            prediction: of this image.
            task: one of ``TASKS``, or "all" for all of them side by side.

        Returns:
            uint8 RGB; small images are enlarged, and those above 16 megapixels reduced. The
            panoptic layer of a network with a semantic head is hatched where no segment is. One of
            two pixels' width comes back as it is.

        Raises:
            InputError: for the task "semantic" of a network without a semantic head.
        """
        tasks = TASKS if task == "all" else (task,)
        if prediction.sem_seg is None:
            if task == "semantic":
                raise InputError(
                    "This network has no semantic head; give --task panoptic, instance or all."
                )
            tasks = tuple(t for t in tasks if t != "semantic")
        # Each thing is drawn by a mask of its own. The frames of a video have one size.
        pixels = image.shape[0] * image.shape[1] * max(1, len(things_of(prediction)) / THINGS)
        if not self.video and (step := math.ceil(math.sqrt(pixels / PIXELS))) > 1:
            image, prediction = image[::step, ::step], prediction.reduced(step)
        instances = "instance" in tasks
        if self.video:
            colors = frame_colors(prediction, instances)
        else:
            colors = image_colors(prediction, self.metadata, instances)
        layers = [self._layer(image, prediction, task, *colors) for task in tasks]
        return layers[0] if len(layers) == 1 else side_by_side(layers, tasks)

    def _layer(self, image, prediction, task, thing_colors, instance_colors) -> np.ndarray:
        if image.shape[1] == POLYGON_WIDTH:
            return image.copy()
        if task == "panoptic" and prediction.sem_seg is not None:
            image = hatch(image, prediction.panoptic_seg)
        if task == "panoptic" and not prediction.segments:
            return image.copy()
        if self.video:
            things = np.isin(prediction.panoptic_seg, [s.id for s in things_of(prediction)])
            objects = np.where(things, prediction.panoptic_seg, 0)
            visualizer = FrameVisualizer(image, self.metadata, objects)
        else:
            visualizer = make_visualizer(image, self.metadata)
        if task == "panoptic":
            self._draw_panoptic(visualizer, prediction, thing_colors)
        elif task == "instance":
            self._draw_instances(visualizer, prediction, instance_colors)
        else:
            visualizer.draw_sem_seg(prediction.sem_seg)
        return visualizer.output.get_image()

    def _draw_panoptic(self, visualizer: Visualizer, prediction: Prediction, colors) -> None:
        pan_seg, things = prediction.panoptic_seg, things_of(prediction)
        overlay_panoptic(
            visualizer,
            [(pan_seg == s.id, s.category_id) for s in prediction.segments if not s.isthing],
            labelled(
                [pan_seg == s.id for s in things],
                [s.name for s in things],
                [self._label(s.name, s.score) for s in things],
            ),
            colors,
            alpha=0.5 if self.video else 0.7,
        )

    def _draw_instances(self, visualizer: Visualizer, prediction: Prediction, colors) -> None:
        instances, names = prediction.instances, self.metadata.stuff_classes
        kinds, masks = instances.pred_classes.tolist(), list(np.asarray(instances.pred_masks))
        names = [names[class_id] for class_id in kinds]
        labels = map(self._label, names, instances.scores.tolist())
        visualizer.overlay_instances(
            boxes=None if self.video else instances.pred_boxes,
            masks=masks,
            labels=[label for _, label in labelled(masks, names, list(labels))],
            assigned_colors=colors,
            alpha=0.5 if self.video else 0.8,
        )

    def _label(self, name: str, score: float) -> str:
        return name if self.video else f"{name} {score:.0%}"
