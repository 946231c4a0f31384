"""Drawing of panoptic maps on images, and of images side by side."""

import cv2
import matplotlib.colors as mplc
import numpy as np
from detectron2.data.catalog import Metadata
from detectron2.utils.visualizer import ColorMode, Visualizer

from efficientps_d2.utils.instance_colors import shades

# Pixels of the long side: small images are enlarged, so that labels take less of them.
SCALE_TO = 1024
EDGE = (1.0, 1.0, 240 / 255)  # as Detectron2 draws that of stuff
POLYGON_WIDTH = 2  # Detectron2 takes masks of this width for polygons and fails
MANY_THINGS = 30  # whose labels would cover the image
MAX_COVERED = 0.25  # of an object, by a label of a frame
LABEL_SHIFTS = (0, 1, -1)  # lines to where a label goes if its place is taken; else it is left out
LUMINANCE = 0.6  # of labels, from 0 to 1; Detectron2 draws them on black
HATCH = (60, 130)  # grey of the stripes where no segment is


class UnclutteredVisualizer(Visualizer):
    """Detectron2's visualizer with labels and edges that can be told apart."""

    def __init__(self, image: np.ndarray, metadata, **kwargs):
        """As in :class:`Visualizer`; ``image`` is (H, W, 3) uint8 RGB."""
        super().__init__(image, metadata, **kwargs)
        self.labels: list[tuple[int, int, int, int]] = []  # where they are: x0, y0, x1, y1

    def draw_text(
        self,
        text,
        position,
        *,
        font_size=None,
        color="g",
        horizontal_alignment="center",
        rotation=0,
    ):
        """As in :class:`Visualizer`, but bright, and only where no other label is."""
        font_size = font_size or self._default_font_size
        pixels = font_size * self.output.dpi / 72
        width, height = 0.65 * pixels * len(text) + 4, 1.4 * pixels + 4  # with the background
        left = position[0] - (width / 2 if horizontal_alignment == "center" else 0)
        for lines in LABEL_SHIFTS:
            top = position[1] + lines * (height + 2)
            if lines and not 2 <= top <= self.output.height - height:
                continue
            box = tuple(max(0, int(x)) for x in (left, top - 2, left + width + 1, top + height - 1))
            if not self.is_free(*box):
                continue
            self.labels.append(box)
            # matplotlib reads text between two dollars as a formula.
            return super().draw_text(
                text.replace("$", r"\$"),
                (position[0], top),
                font_size=font_size,
                color=_bright(mplc.to_rgb(color)),
                horizontal_alignment=horizontal_alignment,
                rotation=rotation,
            )
        return self.output

    def is_free(self, x0: int, y0: int, x1: int, y1: int) -> bool:
        """Whether a label there covers no other one."""
        return not any(
            x0 < right and left < x1 and y0 < bottom and top < y1
            for left, top, right, bottom in self.labels
        )

    def draw_polygon(self, segment, color, edge_color=None, alpha=0.5):
        """As in :class:`Visualizer`, but with a bright edge, so that neighbours do not merge."""
        return super().draw_polygon(segment, color, edge_color or EDGE, alpha)

    def overlay_instances(self, *, labels=None, **kwargs):
        """As in :class:`Visualizer`, without the labels of a crowd."""
        if labels is not None and len(labels) > MANY_THINGS:
            labels = None
        return super().overlay_instances(labels=labels, **kwargs)


class FrameVisualizer(UnclutteredVisualizer):
    """For frames of a video, which are not enlarged: without labels that cover small objects."""

    def __init__(self, image: np.ndarray, metadata, objects: np.ndarray):
        """
        Args:
            image: (H, W, 3) uint8 RGB.
            metadata: names and colours of the classes.
            objects: (H, W) integers: which object each pixel belongs to, 0 for none.
        """
        super().__init__(image, metadata)
        self.objects, self.areas = objects, np.bincount(objects.ravel())

    def is_free(self, x0: int, y0: int, x1: int, y1: int) -> bool:
        """Whether a label there covers no other one, and no small object."""
        covered = np.bincount(self.objects[y0:y1, x0:x1].ravel(), minlength=len(self.areas))
        covers_objects = (covered[1:] > MAX_COVERED * self.areas[1:]).any()
        return super().is_free(x0, y0, x1, y1) and not covers_objects


def _bright(color: tuple[float, float, float]) -> tuple[float, ...]:
    """``color``, mixed with white until it can be read on black."""
    luminance = float(np.dot(color, (0.299, 0.587, 0.114)))
    if luminance >= LUMINANCE:
        return color
    white = (LUMINANCE - luminance) / (1 - luminance)
    return tuple(white + (1 - white) * x for x in color)


def hatch(image: np.ndarray, pan_seg: np.ndarray) -> np.ndarray:
    """A copy of an image, hatched where no segment is, so that this does not look like one.

    Args:
        image: (H, W, 3) uint8.
        pan_seg: (H, W) segment ids, 0 for void.
    """
    void = (pan_seg == 0)[:, :, None]
    if not void.any():
        return image.copy()
    y, x = (np.arange(side, dtype=np.int32) for side in pan_seg.shape)
    stripe = max(2, max(pan_seg.shape) // 128)
    stripes = np.where((x + y[:, None]) // stripe % 2, *map(np.uint8, HATCH))
    hatched = cv2.addWeighted(image, 0.4, cv2.cvtColor(stripes, cv2.COLOR_GRAY2RGB), 0.6, 0)
    return np.where(void, hatched, image)


def draw_panoptic(
    image: np.ndarray,
    pan_seg: np.ndarray,
    segments_info: list[dict],
    metadata: Metadata,
    colors: list | None = None,
    has_stuff: bool = True,
) -> np.ndarray:
    """Overlay a panoptic map.

    Args:
        image: (H, W, 3) uint8 RGB.
        pan_seg: (H, W) segment ids.
        segments_info: ``id`` and ``category_id`` (contiguous) of each segment.
        metadata: of the dataset.
        colors: RGB, from 0 to 1, of each of the :func:`thing_segments`; by default shades of
            their classes.
        has_stuff: of a map that can have a segment everywhere; what has none is then hatched.

    Returns:
        uint8 RGB; small images are enlarged. One of two pixels' width comes back as it is.
    """
    if image.shape[1] == POLYGON_WIDTH:
        return image.copy()
    image = hatch(image, pan_seg) if has_stuff else image.copy()
    if not segments_info:
        return image
    things, names = thing_segments(segments_info, metadata), metadata.stuff_classes
    ids = {s["id"] for s in things}
    stuff = [s for s in segments_info if s["id"] not in ids]
    if colors is None:
        colors = shades(metadata.stuff_colors, [s["category_id"] for s in things])
    visualizer = make_visualizer(image, metadata)
    overlay_panoptic(
        visualizer,
        [(pan_seg == s["id"], s["category_id"]) for s in stuff],
        [(pan_seg == s["id"], names[s["category_id"]]) for s in things],
        colors,
    )
    return visualizer.output.get_image()


def thing_segments(segments_info: list[dict], metadata: Metadata) -> list[dict]:
    """The segments whose class is a thing."""
    things = set(metadata.thing_dataset_id_to_contiguous_id.values())
    return [segment for segment in segments_info if segment["category_id"] in things]


def overlay_panoptic(
    visualizer: Visualizer,
    stuff: list[tuple[np.ndarray, int]],
    things: list[tuple[np.ndarray, str]],
    colors: list,
    alpha: float = 0.7,
) -> None:
    """Draw stuff, large segments first, and things over it, as Detectron2 does.

    Labels of things have the first choice of their place.

    Args:
        visualizer: of the image.
        stuff: (H, W) bool mask and class of each segment.
        things: mask and label of each segment.
        colors: RGB, from 0 to 1, of each thing.
        alpha: opacity, from 0 to 1.
    """
    metadata = visualizer.metadata
    stuff = sorted(stuff, key=lambda segment: -segment[0].sum())
    rgb = [[x / 255 for x in color] for color in metadata.stuff_colors]
    for mask, class_id in stuff:
        visualizer.draw_binary_mask(
            mask, color=rgb[class_id], edge_color=EDGE, alpha=alpha, area_threshold=1
        )
    visualizer.overlay_instances(
        masks=[mask for mask, _ in things],
        labels=[label for _, label in things],
        assigned_colors=colors,
        alpha=alpha,
    )
    for mask, class_id in stuff:
        name = metadata.stuff_classes[class_id]
        visualizer._draw_text_in_mask(mask.astype(np.uint8), name, rgb[class_id])


def make_visualizer(image: np.ndarray, metadata) -> UnclutteredVisualizer:
    """A visualizer of an image (H, W, 3) uint8 RGB, which enlarges it if it is small."""
    scale = max(1.0, SCALE_TO / max(image.shape[:2]))
    mode = ColorMode.SEGMENTATION
    return UnclutteredVisualizer(image, metadata, scale=scale, instance_mode=mode)


def side_by_side(panels: list[np.ndarray], captions: tuple[str, ...]) -> np.ndarray:
    """Panels of one image next to each other (below each other if wide), each with a caption."""
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
