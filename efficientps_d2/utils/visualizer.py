"""Drawing of panoptic maps on images, and of images side by side."""

import cv2
import matplotlib.colors as mplc
import numpy as np
from detectron2.data.catalog import Metadata
from detectron2.utils.visualizer import ColorMode, Visualizer
from matplotlib.collections import LineCollection

from efficientps_d2_runtime.colors import shades
from efficientps_d2_runtime.drawing import few_labels, hatch
from efficientps_d2_runtime.label_places import MAX_COVERED, LabelPlaces

# Pixels of the long side: small images are enlarged, so that labels take less of them.
SCALE_TO = 1024
EDGE = (1.0, 1.0, 240 / 255)  # as Detectron2 draws that of stuff
POLYGON_WIDTH = 2  # Detectron2 takes masks of this width for polygons and fails
LUMINANCE = 0.6  # of labels, from 0 to 1; Detectron2 draws them on black


class UnclutteredVisualizer(Visualizer):
    """Detectron2's visualizer with labels and edges that can be told apart."""

    may_cover_own = True  # whether the label of an object may cover it, however small it is

    def __init__(self, image: np.ndarray, metadata, **kwargs):
        """As in :class:`Visualizer`; ``image`` is (H, W, 3) uint8 RGB."""
        super().__init__(image, metadata, **kwargs)
        self.places = LabelPlaces(self.output.height, self.output.width)

    def draw_text(self, text, position, *, font_size=None, color="g", **kwargs):
        """As in :class:`Visualizer`, but bright, and where no other label is."""
        font_size = font_size or self._default_font_size
        x, y = position
        line = self._size(text, font_size)[1] + 2
        return self._draw_label(text, x, (y, y + line, y - line), font_size, color)

    def overlay_instances(self, *, masks=None, labels=None, assigned_colors=None, **kwargs):
        """As in :class:`Visualizer`, with labels on or beside their objects; "" is none."""
        super().overlay_instances(masks=masks, assigned_colors=assigned_colors, **kwargs)
        if not labels:
            return self.output
        order = sorted(range(len(labels)), key=lambda i: -masks[i].sum())
        if self.places.objects is None:
            objects = np.zeros(masks[0].shape, dtype=np.int32)
            for i in order:
                objects[masks[i]] = i + 1
            self.places.avoid(objects)
        for i in order:
            if labels[i] and masks[i].any():
                self._label_object(masks[i], labels[i], assigned_colors[i], i + 1)
        return self.output

    def _label_object(self, mask: np.ndarray, text: str, color, number: int) -> None:
        """On the object, or below or above it if it is small."""
        ys, xs = np.nonzero(mask)
        y0, y1 = ys.min(), ys.max() + 1
        # As Detectron2 chooses it.
        share = (y1 - y0) / np.sqrt(mask.size)
        font_size = np.clip((share - 0.02) / 0.08 + 1, 1.2, 2) * 0.5 * self._default_font_size
        width, height = self._size(text, font_size)
        x, y = np.median(xs), np.median(ys) - height / 2
        tops = (y, y + height, y - height)
        if width * height > MAX_COVERED * len(xs):
            tops = (y1 + 3, y0 - height - 1)
        own = number if self.may_cover_own else 0
        self._draw_label(text, x, tops, font_size, color, own)

    def _size(self, text: str, font_size: float) -> tuple[float, float]:
        """Width and height of a label with its background, in pixels of the image."""
        pixels = font_size * self.output.dpi / 72
        return 0.65 * pixels * len(text) + 4, 1.4 * pixels + 4

    def _draw_label(self, text: str, x: float, tops, font_size: float, color, own: int = 0):
        place = self.places.find(x, tops, self._size(text, font_size), own)
        if place is None:
            return self.output
        # matplotlib reads text between two dollars as a formula.
        text, color = text.replace("$", r"\$"), _bright(mplc.to_rgb(color))
        return super().draw_text(text, place, font_size=font_size, color=color)

    def draw_polygon(self, segment, color, edge_color=None, alpha=0.5):
        """As in :class:`Visualizer`, but with a bright edge, so that neighbours do not merge."""
        return super().draw_polygon(segment, color, edge_color or EDGE, alpha)

    def draw_binary_mask(self, binary_mask, color=None, **kwargs):
        """As in :class:`Visualizer`, but with edges also if the mask has holes."""
        super().draw_binary_mask(binary_mask, color, **kwargs)
        mask = binary_mask.astype(np.uint8)
        contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        if tree is not None and (tree[0, :, 3] >= 0).any():
            lines = [np.vstack([points, points[:1]])[:, 0] + 0.5 for points in contours]
            width = max(self._default_font_size // 15 * self.output.scale, 1)
            self.output.ax.add_collection(LineCollection(lines, colors=[EDGE], linewidths=width))
        return self.output


class FrameVisualizer(UnclutteredVisualizer):
    """For frames of a video, which are not enlarged: without labels that cover small objects."""

    may_cover_own = False

    def __init__(self, image: np.ndarray, metadata, objects: np.ndarray):
        """
        Args:
            image: (H, W, 3) uint8 RGB.
            metadata: names and colours of the classes.
            objects: (H, W) integers: which object each pixel belongs to, 0 for none.
        """
        super().__init__(image, metadata)
        self.places.avoid(objects)


def _bright(color: tuple[float, float, float]) -> tuple[float, ...]:
    """``color``, mixed with white until it can be read on black."""
    luminance = float(np.dot(color, (0.299, 0.587, 0.114)))
    if luminance >= LUMINANCE:
        return color
    white = (LUMINANCE - luminance) / (1 - luminance)
    return tuple(white + (1 - white) * x for x in color)


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
        labelled([pan_seg == s["id"] for s in things], [names[s["category_id"]] for s in things]),
        colors,
    )
    return visualizer.output.get_image()


def labelled(
    masks: list[np.ndarray], names: list[str], labels: list[str] | None = None
) -> list[tuple[np.ndarray, str]]:
    """Masks of things with the few labels that there is room for; by default the names."""
    areas = [int(mask.sum()) for mask in masks]
    return list(zip(masks, few_labels(names, labels or names, areas), strict=True))


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
