"""AP is that of pycocotools, to the last digits."""

import contextlib
import copy
import io
import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from efficientps_d2.evaluation.average_precision import average_precision

SIZE = (200, 240)


def rle(box: np.ndarray) -> dict:
    mask = np.zeros(SIZE, np.uint8, order="F")
    x, y, w, h = box.astype(int)
    mask[y : y + h, x : x + w] = 1
    mask[y : y + h // 3, x : x + w // 3] = 0  # so that masks and boxes do not agree
    code = mask_util.encode(mask)
    return {"size": list(SIZE), "counts": code["counts"].decode()}


def random_case(seed: int, ids: list) -> tuple[dict, list[dict]]:
    """A ground truth with crowds, and detections of it with scores that are the same for many."""
    rng = np.random.default_rng(seed)
    gt = {"images": [], "annotations": [], "categories": [{"id": i, "name": "x"} for i in (3, 8)]}
    results = []
    for image_id in rng.permutation(ids).tolist():
        gt["images"].append({"id": image_id, "height": SIZE[0], "width": SIZE[1]})
        for _ in range(rng.integers(0, 9)):
            box = np.array([*rng.integers(0, 120, 2), *rng.integers(4, 120, 2)], float)
            box[2:] = np.minimum(box[2:], [SIZE[1] - box[0], SIZE[0] - box[1]])
            category, segmentation = int(rng.choice([3, 8])), rle(box)
            gt["annotations"].append(
                {
                    "id": len(gt["annotations"]) + 1,
                    **{"image_id": image_id, "category_id": category, "bbox": box.tolist()},
                    **{"segmentation": segmentation, "iscrowd": int(rng.random() < 0.1)},
                    "area": float(mask_util.area(segmentation)),
                }
            )
            for _ in range(rng.integers(0, 4)):
                near = (box + rng.integers(-4, 5, 4)).clip(2, [110, 80, 125, 115])
                score = round(float(rng.random()), 1)
                found = {"image_id": image_id, "category_id": category, "score": score}
                results.append({**found, "bbox": near.tolist(), "segmentation": rle(near)})
    return gt, results


def of_pycocotools(gt, results, task, max_dets, image_ids) -> COCOeval:
    coco, results = COCO(), copy.deepcopy(results)
    coco.dataset = copy.deepcopy(gt)
    coco.createIndex()
    if task == "segm":  # as Detectron2 does it
        for result in results:
            result.pop("bbox")
    evaluation = COCOeval(coco, coco.loadRes(results), task)
    evaluation.params.maxDets = max_dets
    if image_ids:
        evaluation.params.imgIds = image_ids
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("ids", [list(range(5, 17)), [f"b{i % 3}_{i}" for i in range(12)]])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("part", [None, slice(2, 7)])
def test_every_number_is_that_of_pycocotools(seed, ids, task, part):
    gt, results = random_case(seed, ids)
    before = json.dumps([gt, results])
    image_ids = ids[part] if part else None
    max_dets = [1, 10, 100]
    with contextlib.redirect_stdout(io.StringIO()):
        expected = of_pycocotools(gt, results, task, max_dets, image_ids)
        found = average_precision(gt, results, task, max_dets, image_ids)
    np.testing.assert_allclose(found.stats[:12], expected.stats, rtol=0, atol=1e-12)
    for name in ("precision", "recall"):
        np.testing.assert_allclose(found.eval[name], expected.eval[name], rtol=0, atol=1e-12)
    assert 0.05 < found.stats[0] < 0.95
    assert json.dumps([gt, results]) == before, "what is given stays"


def test_more_detections_than_100_count_where_they_are_asked_for():
    box = [10.0, 10.0, 50.0, 50.0]
    image = {"id": "a", "height": SIZE[0], "width": SIZE[1]}
    true = {"image_id": "a", "category_id": 3, "bbox": box, "area": 2500.0, "iscrowd": 0, "id": 1}
    gt = {"images": [image], "annotations": [true], "categories": [{"id": 3, "name": "x"}]}
    far = {"image_id": "a", "category_id": 3, "bbox": [100.0, 100.0, 20.0, 20.0], "score": 0.9}
    results = [far] * 120 + [{**far, "bbox": box, "score": 0.5}]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = [average_precision(gt, results, "bbox", [1, 10, n]).stats[0] for n in (100, 150)]
    assert found[0] == 0 and found[1] == pytest.approx(1 / 121)
    assert "Average Precision" in printed.getvalue()
