"""Drawing of panoptic maps on images, and of images side by side."""

import cv2
import numpy as np
from detectron2.utils.visualizer import ColorMode, Visualizer
from torch import as_tensor

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
    visualizer = make_visualizer(image, metadata)
    return visualizer.draw_panoptic_seg(pan_seg, segments, area_threshold=1).get_image()


def make_visualizer(image: np.ndarray, metadata) -> UnclutteredVisualizer:
    """A visualizer of an image (H, W, 3) uint8 RGB, which enlarges it if it is small."""
    scale = max(1.0, SCALE_TO / max(image.shape[:2]))
    mode = ColorMode.SEGMENTATION
    return UnclutteredVisualizer(image, metadata, scale=scale, instance_mode=mode)


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
