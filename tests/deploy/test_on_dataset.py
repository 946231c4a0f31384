"""Networks and files of them side by side on a dataset."""

import numpy as np
import pytest
from detectron2.data import MetadataCatalog

from efficientps_d2 import InputError
from efficientps_d2.data.classes import class_table
from efficientps_d2.data.coco_panoptic import true_segment_ids
from efficientps_d2.deploy.whole import run
from efficientps_d2.deploy.whole.check import Agreement, require_agreement, summary
from efficientps_d2.deploy.whole.on_dataset import (
    SAME,
    Score,
    records_of,
    require_same_quality,
    score,
    score_table,
)
from efficientps_d2.deploy.whole.quantize import CALIBRATING, split
from efficientps_d2_runtime.result import PanopticResult, Segment


@pytest.fixture
def classes(toy):
    return class_table(MetadataCatalog.get(toy))


def perfect(records: list[dict]):
    """Predicts the ground truth, image after image."""
    left = iter(records)

    def predict(image: np.ndarray) -> PanopticResult:
        record = next(left)
        ids = true_segment_ids(record)
        assert image.shape == (*ids.shape, 3) and image.dtype == np.uint8
        segments = [
            Segment(s["id"], s["category_id"], "", True, 1.0, int((ids == s["id"]).sum()))
            for s in record["segments_info"]
        ]
        return PanopticResult(ids, segments, None)

    return predict


def nothing(image: np.ndarray) -> PanopticResult:
    return PanopticResult(np.zeros(image.shape[:2], np.int32), [], None)


def test_each_is_scored_on_every_image(toy, classes):
    records, seen = records_of(toy, classes), []
    scores = score(records, {"right": perfect(records), "blind": nothing}, classes, seen.append)
    assert list(scores["right"].pq.values()) == [100.0] * 3
    assert list(scores["blind"].pq.values()) == [0.0] * 3
    assert [list(predictions) for predictions in seen] == [["right", "blind"]] * len(records)
    assert all(found.milliseconds > 0 for found in scores.values())
    rows = [line.split() for line in score_table(scores).splitlines()]
    assert rows[2][:8] == ["|", "right", "|", "100.00", "|", "100.00", "|", "100.00"]


def test_datasets_of_other_classes_are_refused(toy, classes):
    with pytest.raises(InputError, match='"toy" has the classes .*, and the model '):
        records_of(toy, classes._replace(thing_ids=classes.thing_ids[:1]))
    with pytest.raises(InputError, match='There is no dataset "toi"'):
        records_of("toi", classes)


def test_files_of_another_quality_are_refused():
    pq = {"": 80.0, "_th": 70.0, "_st": 90.0}
    near = pq | {"_th": 70.0 + SAME / 2}
    require_same_quality({"network": Score(pq, 1), "file": Score(near, 1)})
    far = pq | {"_th": 70.0 - 2 * SAME}
    with pytest.raises(InputError, match="is 0.20 PQ from the network; it was not kept"):
        require_same_quality({"network": Score(pq, 1), "file": Score(far, 1)})


def test_a_summary_of_many_images():
    same = Agreement((10, 10), 1.0, 3, True, 2, 0.0, 0.0, 0.0, 1.0)
    other = same._replace(pixels=0.9)
    told = summary([same, same, other, other._replace(same_segments=False)])
    assert told.startswith("4 images: 3 with the same segments, 2 the same within the limits;")
    assert told.endswith("95.0000 % are the same.")


def test_what_was_not_compared_is_said():
    same = Agreement((10, 10), 1.0, 3, True, 2, 0.0, 0.0, 0.0, 1.0)
    told = run.verdict([same, same])
    assert told.startswith("It gives what the network gives: 2 images with 4 instances were")
    assert "but for 1 of 2 images" in run.verdict([same, same._replace(same_segments=False)])
    assert "without any instance were compared" in run.verdict([same._replace(instances=0)])


def test_a_dataset_with_other_pixels_is_refused(toy, classes, monkeypatch):
    """Although PQ is the same."""
    monkeypatch.setattr(run, "agreement", lambda found, expected: found)
    monkeypatch.setattr(run, "score", lambda records, predictors, classes, see: see_all(see))
    other = Agreement((10, 10), 0.99, 3, True, 2, 0.0, 0.0, 0.0, 1.0)

    def see_all(see):
        see({run.ONNX: other, run.PYTORCH: other})
        return {name: Score({"": 80.0, "_th": 70.0, "_st": 90.0}, 1) for name in ("a", "b")}

    with pytest.raises(InputError, match="in 1.000 % of the pixels; it was not kept"):
        run.compare_on(None, None, [], classes)


def test_small_images_may_differ_more_than_all_together():
    large = Agreement((100, 1000), 1.0, 3, True, 2, 0.0, 0.0, 0.0, 1.0)
    small = large._replace(size=(50, 100), pixels=0.9992)
    assert small.holds
    require_agreement([large, small])
    with pytest.raises(InputError, match="differs from the network in 0.080 % of the pixels"):
        require_agreement([small, small])
    with pytest.raises(InputError, match="on an image of 50 x 100 pixels"):
        require_agreement([large, small._replace(pixels=0.998)])


@pytest.mark.parametrize("count", [4, 60, 98, 5000])
def test_images_that_calibrate_are_not_scored(count):
    calibrating, scored = split(list(range(count)))
    assert sorted(calibrating + scored) == list(range(count))
    assert 0 < len(calibrating) <= min(CALIBRATING, -(-count // 4))


def test_a_dataset_that_cannot_be_split_is_refused():
    with pytest.raises(InputError, match="3 images are too few to quantize; give a dataset of 4"):
        split([1, 2, 3])
