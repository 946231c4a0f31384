"""The images of a report: which are chosen, and what they show."""

import base64
import re

import cv2
import numpy as np
import reported_run
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reported_run import write_run
from scenes import write_dataset

from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.evaluation.panoptic_metrics import Match
from efficientps_d2.report.error_analysis import BOUNDARY, KINDS, MISSED
from efficientps_d2.report.gallery import COLORS, choose_images, paint_errors, paint_segments
from efficientps_d2.report.page import write_report


def panels(page: str) -> list[np.ndarray]:
    """The images of a page, RGB."""
    images = []
    for data in re.findall(r"data:image/webp;base64,([^\"]+)", page):
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        images.append(decoded[:, :, ::-1].astype(int))
    return images


def test_what_the_panels_show(tmp_path, register, tiny_config, monkeypatch):
    data = write_dataset(tmp_path / "data", count=1)
    name = register("toy", data)
    (record,) = DatasetCatalog.get(name)
    gt = read_segment_ids(record["pan_seg_file_name"])
    (sky,) = (s["id"] for s in record["segments_info"] if s["category_id"] == 1)
    # Of the ground truth only the sky is predicted, and all else is road.
    pan_seg = torch.from_numpy(np.where(gt == sky, 1, 2).astype(np.int32))
    segments = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 0}]
    output = {"panoptic_seg": (pan_seg, segments)}
    monkeypatch.setattr(reported_run, "imperfect_outputs", lambda *_: [output])
    page = write_report(write_run(tiny_config(name), tmp_path / "run")).read_text()
    image, true, predicted, errors = panels(page)
    inside = cv2.erode((gt == sky).astype(np.uint8), np.ones((9, 9))) > 0
    color = np.array(MetadataCatalog.get(name).stuff_colors[1])
    original = np.asarray(Image.open(record["file_name"]).convert("RGB")).astype(int)
    assert np.abs(image - original).mean() < 12
    for panel in (true, predicted):
        expected = 0.65 * color + 0.35 * original
        assert np.abs(panel - expected)[inside].mean() < 12
    assert np.abs(true - predicted).max(axis=2).mean() > 10, "cars are not in the prediction"
    (car, *_) = (s["id"] for s in record["segments_info"] if s["category_id"] == 2)
    body = cv2.erode((gt == car).astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(errors - COLORS[MISSED])[body].mean() < 30
    assert np.ptp(errors[inside], axis=1).mean() < 12, "what is correct is gray"


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(1, 4))
def test_best_worst_and_random_images(values, count):
    pictures = [
        {"name": i, "matches": [Match("tp", 0, 9, value, 1, 1)]} for i, value in enumerate(values)
    ]
    empty = {"name": -1, "matches": []}
    chosen = choose_images([*pictures, empty], count)
    names = [picture["name"] for _, picture in chosen]
    assert len(set(names)) == len(names) == min(len(values), 3 * count) and -1 not in names
    if len(values) > 3 * count:
        best = [values[picture["name"]] for group, picture in chosen if group == "best"]
        worst = [values[picture["name"]] for group, picture in chosen if group == "worst"]
        assert sorted(best) == sorted(values)[-count:] and sorted(worst) == sorted(values)[:count]


def test_colours_of_errors_and_classes():
    image = np.full((4, 6, 3), 100, np.uint8)
    kinds = np.zeros((4, 6), np.uint8)
    kinds[0, 0], kinds[0, 1] = KINDS.index(MISSED), KINDS.index(BOUNDARY)
    painted = paint_errors(image, kinds)
    assert tuple(painted[0, 0]) == COLORS[MISSED] and tuple(painted[0, 1]) == COLORS[BOUNDARY]
    assert np.ptp(painted[2, 2]) == 0 and painted[2, 2, 0] > 100, "correct pixels fade"
    ids = np.array([[1] * 3 + [2] * 3] * 4)
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1}]
    painted = paint_segments(image, ids, segments, [(255, 0, 0), (0, 0, 255)])
    assert painted[0, 0].argmax() == 0 and painted[0, 5].argmax() == 2
    assert (painted[:, 3] == 255).all(), "a white line between segments"


def test_images_larger_than_the_page_are_made_smaller(tmp_path, register, tiny_config):
    data = write_dataset(tmp_path / "wide", count=1, size=(100, 1500))
    folder = write_run(tiny_config(register("wide", data)), tmp_path / "run")
    assert [panel.shape for panel in panels(write_report(folder).read_text())] == [(43, 640, 3)] * 4
