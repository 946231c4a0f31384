"""Images that people look at."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.utils.visualizer import Visualizer

from efficientps_d2.utils.instance_colors import shades_of_both
from efficientps_d2.utils.visualizer import draw_panoptic, make_visualizer


@pytest.mark.parametrize(("count", "labelled"), [(4, 5), (60, 2)])
def test_a_crowd_of_things_has_one_label(toy, monkeypatch, count, labelled):
    """Sixty labels would cover the image; beside it is the one of the stuff."""
    DatasetCatalog.get(toy)
    pan_seg = np.ones((96, 160), dtype=np.int64)
    segments = [{"id": 1, "category_id": 0}]
    for i in range(count):
        y, x = 16 * (i // 10), 16 * (i % 10)
        pan_seg[y : y + 12, x : x + 12] = i + 2
        segments.append({"id": i + 2, "category_id": 2})
    texts = []
    monkeypatch.setattr(Visualizer, "draw_text", lambda self, text, *a, **k: texts.append(text))
    image = np.zeros((96, 160, 3), dtype=np.uint8)
    drawn = draw_panoptic(image, pan_seg, segments, MetadataCatalog.get(toy))
    assert len(texts) == labelled
    assert drawn.shape[2] == 3 and drawn.std() > 0


def test_labels_are_bright(toy, monkeypatch):
    """Detectron2 puts them on black; blue would be dark there."""
    DatasetCatalog.get(toy)
    colors = []
    monkeypatch.setattr(Visualizer, "draw_text", lambda *a, color, **k: colors.append(color))
    visualizer = make_visualizer(np.zeros((96, 160, 3), np.uint8), MetadataCatalog.get(toy))
    for i, color in enumerate([(0, 0, 0.9), "k", (1, 1, 1)]):
        visualizer.draw_text("car", (80, 30 * i), color=color)
    assert len(colors) == 3
    for color in colors:
        assert np.dot(color, (0.3, 0.59, 0.11)) > 0.59 and max(color) <= 1
    assert colors[0][2] > colors[0][0]


def test_things_that_touch_have_an_edge_between_them(toy):
    DatasetCatalog.get(toy)
    pan_seg = np.repeat([1, 2], 80)[None] * np.ones((96, 1), dtype=np.int64)
    segments, image = (
        [{"id": i, "category_id": 2} for i in (1, 2)],
        np.zeros((96, 160, 3), np.uint8),
    )
    colors = [(0.2, 0.2, 0.6)] * 2
    drawn = draw_panoptic(image, pan_seg, segments, MetadataCatalog.get(toy), colors)
    middle = drawn[:, drawn.shape[1] * 78 // 160 : drawn.shape[1] * 82 // 160]
    assert (middle.min(axis=2).max(axis=1) > 180).mean() > 0.8


def test_stuff_with_a_hole_has_edges_too(toy):
    DatasetCatalog.get(toy)
    pan_seg = np.zeros((96, 160), dtype=np.int64)
    pan_seg[20:80, 30:130] = 1
    segments, image = [{"id": 1, "category_id": 0}], np.zeros((96, 160, 3), np.uint8)
    edges = []
    for hole in (0, 20):
        pan_seg[40 : 40 + hole, 60 : 60 + hole] = 0
        drawn = draw_panoptic(image, pan_seg, segments, MetadataCatalog.get(toy), has_stuff=False)
        edges.append((drawn.min(axis=2) > 200).sum())
    assert edges[1] > edges[0] > 1000, "and the hole has some"


def test_names_are_no_formulas(toy):
    DatasetCatalog.get(toy)
    metadata = MetadataCatalog.get(toy)
    names = [r"$\frac{$", r"$x$", "a_b^c"] + metadata.stuff_classes[3:]
    odd = Metadata(**{**metadata.as_dict(), "name": "odd", "stuff_classes": names})
    pan_seg = np.repeat([1, 2, 3], [32, 32, 32])[:, None] * np.ones((1, 160), dtype=np.int64)
    segments = [{"id": i + 1, "category_id": i} for i in range(3)]
    drawn = draw_panoptic(np.zeros((96, 160, 3), np.uint8), pan_seg, segments, odd)
    assert drawn.std() > 0


def test_an_object_has_one_colour_in_both_maps():
    masks = np.zeros((4, 8, 8), dtype=bool)
    masks[0, :4, :4] = masks[1, 4:, 4:] = masks[2, 4:, :2] = True
    masks[3, :4, :3] = True  # most of the first
    first, second = shades_of_both([(90, 0, 0)], masks[:2], [0, 0], masks[[3, 2]], [0, 0])
    assert second[0] == first[0] and len({*first, *second}) == 3
    assert all(0 <= x <= 1 for color in (*first, *second) for x in color)
    other_class = shades_of_both([(90, 0, 0)] * 2, masks[:1], [0], masks[3:], [1])
    assert other_class[0] != other_class[1]
    assert shades_of_both([(90, 0, 0)], [], [], [], []) == ([], [])
