"""Both pages, and the pictures of predictions, give a segment the same colour."""

from dataclasses import asdict

import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from static_page import opened

from efficientps_d2.data.coco_panoptic import set_classes
from efficientps_d2.prediction.layers import prediction_layers
from efficientps_d2.prediction.result import Prediction
from efficientps_d2_runtime import Segment
from efficientps_d2_runtime import prediction as runtime
from efficientps_d2_runtime.drawing import segment_colors

CATEGORIES = [
    {"id": 4, "name": "dark", "isthing": 0, "color": [143, 49, 251]},
    {"id": 9, "name": "nucleus", "isthing": 1, "color": [212, 87, 157]},
    {"id": 5, "name": "cell", "isthing": 1, "color": [20, 140, 30]},
]
SIZE = (20, 40)
# Half of a nucleus and its neighbour; three nuclei side by side, the last of which another class
# has a mask of; a cell.
BOXES = [
    (6, 0, 16, 10),
    (20, 0, 30, 10),
    (0, 0, 10, 10),
    (10, 0, 20, 10),
    (0, 12, 8, 20),
    (30, 12, 36, 18),
]
CLASSES, SCORES = [1, 2, 1, 1, 2, 1], [0.95, 0.9, 0.8, 0.7, 0.6, 0.3]
DESCRIBE = """
    const [outputs, [height, width], config, done] = arguments;
    import("/layers.js").then(async ({ describe }) => {
        for (const each of Object.values(outputs)) each.data = Float64Array.from(each.data);
        const image = { name: "x.png", width, height, pixels: new Uint8Array(3 * width * height) };
        const { layers } = await describe(image, outputs, config);
        for (const each of Object.values(layers)) each.numbers = [...each.numbers];
        done(layers);
    });
"""


def predicted() -> runtime.Prediction:
    """By descending score; the ids of the map have another order."""
    pan_seg, segments = np.ones(SIZE, np.int32), [(1, 0, 0.9)]
    for id_, box in enumerate((3, 2, 1, 4), start=2):
        x0, y0, x1, y1 = BOXES[box]
        pan_seg[y0:y1, x0:x1] = id_
        segments.append((id_, 1 if box == 1 else CLASSES[box], SCORES[box]))
    found = [
        Segment(id_, c, CATEGORIES[c]["name"], c > 0, score, int((pan_seg == id_).sum()))
        for id_, c, score in segments
    ]
    sem_seg = np.array([0, 1, 1, 1, 2], np.uint8)[pan_seg - 1]
    logits = np.full((len(BOXES), 4, 4), 9, np.float32)
    arrays = (np.array(BOXES, np.float32), np.array(SCORES, np.float32), np.array(CLASSES))
    return runtime.Prediction(pan_seg, found, sem_seg, *arrays, logits)


def in_browser(page, prediction, config) -> dict:
    values = {f"segment_{name}": [] for name in ("classes", "isthing", "scores", "areas")}
    for s in prediction.segments:
        for name, value in zip(values, (s.category_id, s.isthing, s.score, s.area), strict=True):
            values[name].append(value)
    for name in ("panoptic_seg", "sem_seg", "boxes", "scores", "classes", "mask_logits"):
        values[name] = getattr(prediction, name)
    arrays = {name: np.asarray(value) for name, value in values.items()}
    outputs = {
        name: {"data": value.ravel().tolist(), "dims": value.shape}
        for name, value in arrays.items()
    }
    return page.execute_async_script(DESCRIBE, outputs, SIZE, config)


def test_colours_and_numbers_are_those_of_python(browser, address, folder):
    found = predicted()
    metadata = Metadata(name="nuclei")
    set_classes(metadata, CATEGORIES)
    instances = Instances(SIZE, pred_boxes=Boxes(torch.from_numpy(found.boxes)))
    instances.scores = torch.from_numpy(found.scores)
    instances.pred_classes = torch.from_numpy(found.classes)
    instances.pred_masks = torch.from_numpy(found.masks)
    logits = torch.nn.functional.one_hot(torch.from_numpy(found.sem_seg).long(), 3).permute(2, 0, 1)
    prediction = Prediction(
        found.panoptic_seg, found.segments, found.sem_seg, instances, logits.float()
    )
    expected = prediction_layers(prediction, metadata, 0.5)
    with opened(browser, address, folder, categories=CATEGORIES) as page:
        config = page.execute_async_script(
            "const done = arguments[0]; fetch('config.json').then((a) => a.json()).then(done)"
        )
        layers = in_browser(page, found, config)
    for name, layer in expected.items():
        segments = [asdict(segment) for segment in layer.segments]
        for both in zip(segments, layers[name]["segments"], strict=True):
            scores = [each.pop("score") for each in both]
            assert both[0] == both[1], name
            assert name == "semantic" or abs(scores[0] - scores[1]) < 1e-6
        assert layers[name]["numbers"] == layer.numbers.ravel().tolist(), name
    colors = segment_colors(found.segments, CATEGORIES)
    ids = [2, 3, 4]  # of nuclei that touch each other
    drawn = {tuple(round(value) for value in colors[id_]) for id_ in ids}
    shown = {tuple(s["color"]) for s in layers["panoptic"]["segments"] if s["name"] == "nucleus"}
    assert shown == drawn and len(drawn) == 3
    of_instances = [s["color"] for s in layers["instance"]["segments"]]
    assert len(of_instances) == 5, "the one below the threshold is left out"
    assert [list(color) in of_instances for color in sorted(drawn)].count(True) == 2
