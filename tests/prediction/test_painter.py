"""Colours and labels of drawn predictions."""

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import BitMasks, Instances
from detectron2.utils.visualizer import Visualizer

from efficientps_d2.data.coco_panoptic import set_classes
from efficientps_d2.prediction import painter
from efficientps_d2.prediction.colors import frame_colors, image_colors
from efficientps_d2.prediction.painter import PredictionPainter
from efficientps_d2.prediction.predictor import Prediction, Segment
from efficientps_d2.prediction.tracking import Tracker

SHAPE = (200, 300)
CLASSES = ["road", "car", "person"]


@pytest.fixture(scope="module")
def metadata():
    metadata = Metadata(name="painter")
    categories = [{"id": i, "name": n, "isthing": int(i > 0)} for i, n in enumerate(CLASSES)]
    set_classes(metadata, categories)
    return metadata


def predicted(boxes: list[tuple], shift: int = 0) -> Prediction:
    """Road with things in boxes (x0, y0, x1, y1, class); instances come in the reverse order."""
    pan_seg, masks = np.ones(SHAPE, np.int32), []
    segments = [Segment(1, 0, "road", False, 0.9, 1)]
    for i, (x0, y0, x1, y1, class_id) in enumerate(boxes, start=2):
        mask = np.zeros(SHAPE, bool)
        mask[y0:y1, x0 + shift : x1 + shift] = True
        pan_seg[mask] = i
        mask[y0 - 1] = mask[y0]  # an instance's mask is not cut to the map
        masks.append(mask)
        segments.append(Segment(i, class_id, CLASSES[class_id], True, 0.9, int(mask.sum())))
    instances = Instances(SHAPE)
    instances.pred_masks = torch.from_numpy(np.array(masks[::-1]))
    instances.pred_classes = torch.tensor([box[4] for box in boxes[::-1]])
    instances.scores = torch.full((len(boxes),), 0.9)
    instances.pred_boxes = BitMasks(instances.pred_masks).get_bounding_boxes()
    return Prediction(pan_seg, segments, (pan_seg > 1).astype(np.uint8), instances)


def in_frame(boxes: list[tuple]) -> Prediction:
    """As :func:`predicted`, of the first frame of a video."""
    return Tracker(len(CLASSES)).follow(predicted(boxes))


BOXES = [(10, 20, 60, 70, 1), (70, 20, 120, 70, 1), (200, 100, 240, 180, 2)]


@pytest.mark.parametrize("video", [False, True])
def test_an_instance_has_one_colour_in_all_layers(metadata, video):
    if video:
        things, instances = frame_colors(in_frame(BOXES))
    else:
        things, instances = image_colors(predicted(BOXES), metadata)
    assert np.array_equal(things, instances[::-1]) and len({tuple(c) for c in things}) == 3


def test_an_instance_that_is_not_in_the_map_has_a_colour_of_its_own(metadata):
    prediction = predicted(BOXES)
    prediction.panoptic_seg[prediction.panoptic_seg == 3] = 1
    prediction.segments.pop(2)
    things, instances = image_colors(prediction, metadata)
    assert [instances[2], instances[0]] == things and instances[1] not in things
    prediction.segments[1].category_id = 2  # of another class it is another thing
    things, instances = image_colors(prediction, metadata)
    assert instances[2] not in things and instances[0] == things[1]


def test_colours_of_images_do_not_change(metadata):
    """From one drawing to the next, and they stay near those of the classes."""
    first, second = (image_colors(predicted(BOXES), metadata) for _ in range(2))
    assert first == second
    for color, box in zip(first[0], BOXES, strict=True):
        assert np.abs(np.array(color) - np.array(metadata.stuff_colors[box[4]]) / 255).max() <= 0.5


def test_colours_and_ids_of_a_video_stay():
    """Also of what has another number in the next frame."""
    tracker = Tracker(len(CLASSES))
    first, last = tracker.follow(predicted(BOXES)), predicted(BOXES[::-1], shift=3)
    last = tracker.follow(last)
    before, after = frame_colors(first), frame_colors(last)
    assert np.array_equal(before[0], after[0][::-1])
    assert np.array_equal(before[1], after[1][::-1])
    assert [s.id for s in first.segments] == [1, 4, 5, 6]
    for segment in last.segments:
        (same,) = [s for s in first.segments if s.id == segment.id]
        assert same.category_id == segment.category_id
        assert (last.panoptic_seg == segment.id).sum() == (first.panoptic_seg == same.id).sum() > 0


@pytest.fixture
def drawn_texts(monkeypatch):
    """Texts and where they begin: (x, y) of their middle or left, and of their top."""
    texts = []

    def draw_text(self, text, position, **kwargs):
        texts.append((text, position, kwargs))

    monkeypatch.setattr(Visualizer, "draw_text", draw_text)
    return texts


@pytest.mark.parametrize("task", ["panoptic", "semantic"])
def test_labels_of_frames_do_not_cover_small_objects(metadata, drawn_texts, task):
    """The label of the road would lie in its middle, on the person."""
    image = np.full((*SHAPE, 3), 90, np.uint8)
    for person, moves in ((146, 96, 152, 108, 2), True), ((5, 5, 12, 20, 2), False):
        drawn_texts.clear()
        PredictionPainter(metadata, video=True).draw(image, in_frame([person]), task)
        (top,) = [position[1] for text, position, _ in drawn_texts if text == "road"]
        assert (top > 108 or top < 80) == moves


def test_a_label_that_would_cover_many_small_objects_is_left_out(metadata, drawn_texts):
    image = np.full((*SHAPE, 3), 90, np.uint8)
    people = [(x, y, x + 6, y + 6, 2) for x in range(90, 210, 12) for y in range(20, 180, 12)]
    PredictionPainter(metadata, video=True).draw(image, in_frame(people), "semantic")
    assert "road" not in [text for text, *_ in drawn_texts]


def test_large_objects_of_frames_have_labels(metadata, drawn_texts):
    image = np.full((*SHAPE, 3), 90, np.uint8)
    prediction = in_frame([(20, 20, 180, 180, 1)])
    for task in ("panoptic", "instance"):
        PredictionPainter(metadata, video=True).draw(image, prediction, task)
    assert [text for text, *_ in drawn_texts].count("car") == 2


def test_labels_do_not_cover_each_other(metadata, drawn_texts):
    """They go a line up or down; one that has no place near its object is left out."""
    image = np.full((*SHAPE, 3), 90, np.uint8)
    cars = [(100, 100, 106, 104, 1), (101, 105, 107, 109, 1), (100, 110, 106, 114, 1)]
    PredictionPainter(metadata).draw(image, predicted(cars), "instance")
    tops = sorted(position[1] for text, position, _ in drawn_texts)
    assert len(tops) == 2 and np.diff(tops).min() > 8
    drawn_texts.clear()
    row = [(100, 2, 106, 8, 1), (108, 2, 114, 8, 1)]
    PredictionPainter(metadata).draw(image, predicted(row), "instance")
    tops = sorted(position[1] for text, position, _ in drawn_texts)
    assert len(tops) == 2 and np.diff(tops).min() > 8 and tops[0] >= 0


@pytest.mark.parametrize("box", [(100, 20, 280, 180), (150, 90, 158, 98), (294, 192, 300, 200)])
def test_a_label_is_on_or_beside_its_object(metadata, drawn_texts, box):
    """Also at the border, where it stays in the image."""
    image = np.full((*SHAPE, 3), 90, np.uint8)
    PredictionPainter(metadata).draw(image, predicted([(*box, 1)]), "instance")
    ((text, (x, top), options),) = drawn_texts
    half, height = 0.3 * options["font_size"] * len(text), 2 * options["font_size"]
    border = 1.5 * half
    assert border < x < SHAPE[1] - border and 0 <= top <= SHAPE[0] - height
    assert box[0] - half < x < box[2] + half and box[1] - 3 * height < top < box[3] + 4


def test_a_label_of_stuff_does_not_take_the_place_of_a_thing(metadata, drawn_texts):
    image = np.full((*SHAPE, 3), 90, np.uint8)
    car = [(10, 60, 290, 140, 1)]  # around the middle of the road
    for video in (False, True):
        prediction = in_frame(car) if video else predicted(car)
        PredictionPainter(metadata, video).draw(image, prediction, "panoptic")
        assert drawn_texts[0][0].startswith("car")
        drawn_texts.clear()


def test_void_is_hatched_in_the_panoptic_layer(metadata):
    """It does not look like a segment, or like the image."""
    image = np.full((*SHAPE, 3), 90, np.uint8)
    prediction = predicted(BOXES)
    prediction.segments, prediction.instances = prediction.segments[:1], prediction.instances[:0]
    prediction.panoptic_seg = np.ones(SHAPE, np.int32)
    prediction.panoptic_seg[:, :150] = 0
    for segments in (prediction.segments, []):
        prediction.segments = segments
        drawn = PredictionPainter(metadata).draw(image, prediction, "panoptic")
        left = drawn[:, : drawn.shape[1] // 3].astype(int)
        assert {tuple(c) for c in left.reshape(-1, 3)} >= {(72, 72, 72), (114, 114, 114)}
    drawn = PredictionPainter(metadata).draw(image, prediction, "instance")
    assert (drawn[::8, ::8] == 90).all()
    prediction.sem_seg = None  # of Mask R-CNN, which cannot fill an image
    drawn = PredictionPainter(metadata).draw(image, prediction, "panoptic")
    assert (drawn[::8, ::8] == 90).all()


def test_without_instances(metadata):
    prediction = predicted(BOXES)
    prediction.segments, prediction.instances = prediction.segments[:1], prediction.instances[:0]
    image = np.full((*SHAPE, 3), 90, np.uint8)
    assert PredictionPainter(metadata).draw(image, prediction, "all").ndim == 3
    prediction = Tracker(len(CLASSES)).follow(prediction)
    assert PredictionPainter(metadata, video=True).draw(image, prediction, "all").ndim == 3


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_huge_images_are_drawn_smaller(metadata, monkeypatch, task):
    image, prediction = np.full((*SHAPE, 3), 200, np.uint8), predicted(BOXES)
    monkeypatch.setattr(painter, "PIXELS", SHAPE[0] * SHAPE[1] / 4)
    small = PredictionPainter(metadata).draw(image, prediction, task)
    monkeypatch.setattr(painter, "PIXELS", 16e6)
    half = image[::2, ::2].copy()
    expected = PredictionPainter(metadata).draw(half, prediction.reduced(2), task)
    assert small.shape == expected.shape and (small == expected).mean() > 0.99
    assert prediction.reduced(2).segments == prediction.segments


def test_frames_of_a_video_keep_their_size(metadata, monkeypatch):
    """However many things are in one."""
    monkeypatch.setattr(painter, "PIXELS", SHAPE[0] * SHAPE[1] / 4)
    draw = PredictionPainter(metadata, video=True).draw
    assert draw(np.zeros((*SHAPE, 3), np.uint8), in_frame(BOXES), "panoptic").shape == (*SHAPE, 3)


def test_things_are_drawn_without_masks_of_all_instances(metadata):
    prediction = predicted(BOXES)
    prediction.detections.remove("pred_masks")  # asking for them would fail
    drawn = PredictionPainter(metadata).draw(
        np.zeros((*SHAPE, 3), np.uint8), prediction, "panoptic"
    )
    assert drawn.max() > 100
