"""VPQ: PQ of what has one id in several frames."""

import json

import numpy as np
import pytest
from PIL import Image
from project import run_verb

from efficientps_d2.data.video_panoptic import VideoFrames

CATEGORIES = [
    {"id": 7, "name": "road", "isthing": 0},
    {"id": 26, "name": "car", "isthing": 1},
]
ROAD, FIRST, SECOND = 1, 3, 4


def maps(ids: list[tuple[int, int]]) -> list[np.ndarray]:
    """Frames of a road with two cars of the given ids, 0 for none."""
    frames = []
    for i, (left, right) in enumerate(ids):
        frame = np.full((20, 40), ROAD, np.int32)
        for x, id_ in ((i, left), (20 + i, right)):
            frame[5:15, x : x + 10] = id_ or ROAD
        frames.append(frame)
    return frames


def write(folder, videos: dict[str, list[np.ndarray]]):
    folder.mkdir()
    (folder / "panoptic").mkdir()
    frames = VideoFrames(folder / "panoptic", CATEGORIES)
    for name, of_video in videos.items():
        frames.begin(name)
        for pan_seg in of_video:
            ids = [int(i) for i in np.unique(pan_seg) if i]
            frames.add(pan_seg, [{"id": i, "category_id": int(i != ROAD)} for i in ids])
    (folder / "panoptic.json").write_text(json.dumps(frames.content))
    return folder


def run_score(gt, predicted, *more) -> int:
    arguments = ["--gt", gt / "panoptic.json", "--gt-dir", gt / "panoptic"]
    arguments += ["--pred", predicted / "panoptic.json", "--pred-dir", predicted / "panoptic"]
    return run_verb("score", *arguments, "--processes", 1, *more)


def score(tmp_path, truth, prediction, *more) -> dict:
    gt, predicted = write(tmp_path / "gt", truth), write(tmp_path / "predicted", prediction)
    scores = tmp_path / "scores.json"
    status = run_score(gt, predicted, "--output", scores, *more)
    assert status == 0
    return json.loads(scores.read_text())


SAME = [(FIRST, SECOND)] * 6


def test_other_ids_that_last_are_perfect(tmp_path, capsys):
    found = score(tmp_path, {"a": maps(SAME)}, {"a": maps([(SECOND, 9)] * 6)})
    assert {found[f"VPQ{k}"] for k in ("", "_1", "_2", "_4", "_6", "_th", "_st")} == {100}
    assert "Scored frames: 6." in capsys.readouterr().out


def test_ids_that_change_places_cost_windows_over_the_change(tmp_path):
    """Of two frames, one of five windows has both cars in two halves; of six, the only one."""
    changed = [(FIRST, SECOND)] * 3 + [(SECOND, FIRST)] * 3
    found = score(tmp_path, {"a": maps(SAME)}, {"a": maps(changed)})
    assert found["VPQ_1"] == found["VPQ_st"] == 100
    # A window of two frames over the change: IoU 10 / 30, so that two are missed and two wrong.
    assert found["VPQ_2-car"] == pytest.approx(100 * 8 / (8 + 2))
    # Windows of four frames have 1, 2 or 3 frames behind the change; 3 : 1 is an IoU of 3 / 5.
    assert found["VPQ_4-car"] == pytest.approx(100 * 4 * 0.6 / (4 + 2))
    assert found["VPQ_6-car"] == 0


def test_a_frame_alone_is_scored_as_an_image(tmp_path):
    missed = [(FIRST, SECOND)] * 2 + [(FIRST, 0)] * 4
    found = score(tmp_path, {"a": maps(SAME)}, {"a": maps(missed)})
    assert found["VPQ_1-car"] == pytest.approx(100 * 8 / (8 + 0.5 * 4))


def test_windows_stay_in_a_video_and_short_ones_have_none(tmp_path):
    """The ids of two videos have nothing to do with each other."""
    truth = {"a": maps(SAME), "b": maps(SAME[:2])}
    found = score(tmp_path, truth, {"a": maps(SAME), "b": maps([(SECOND, FIRST)] * 2)})
    assert found["VPQ"] == 100
    alone = score_of_short(tmp_path)
    assert alone["VPQ_1"] == 100 and alone["VPQ_6"] is None and alone["VPQ"] == 100


def score_of_short(tmp_path) -> dict:
    (tmp_path / "short").mkdir()
    return score(tmp_path / "short", {"b": maps(SAME[:2])}, {"b": maps(SAME[:2])})


def test_a_tube_has_the_class_of_its_first_frame(tmp_path):
    gt, predicted = (write(tmp_path / n, {"a": maps(SAME[:2])}) for n in ("gt", "predicted"))
    content = json.loads((predicted / "panoptic.json").read_text())
    for segment in content["annotations"][0]["annotations"][1]["segments_info"]:
        segment["category_id"] = 7 if segment["id"] == FIRST else segment["category_id"]
    (predicted / "panoptic.json").write_text(json.dumps(content))
    scores = tmp_path / "scores.json"
    assert run_score(gt, predicted, "--output", scores) == 0
    found = json.loads(scores.read_text())
    assert found["VPQ_1"] < 100 and found["VPQ_2"] == 100


def test_a_prediction_needs_no_list_of_videos(tmp_path):
    predicted = write(tmp_path / "other", {"a": maps(SAME)})
    content = json.loads((predicted / "panoptic.json").read_text())
    (predicted / "panoptic.json").write_text(json.dumps({"annotations": content["annotations"]}))
    gt = write(tmp_path / "gt", {"a": maps(SAME)})
    assert run_score(gt, predicted) == 0


def test_a_missing_frame_is_named(tmp_path, capsys):
    gt, predicted = (write(tmp_path / n, {"a": maps(SAME)}) for n in ("gt", "predicted"))
    content = json.loads((predicted / "panoptic.json").read_text())
    content["annotations"][0]["annotations"].pop(3)
    (predicted / "panoptic.json").write_text(json.dumps(content))
    assert run_score(gt, predicted) == 1
    assert "has no image 'a/000003'" in capsys.readouterr().err


def test_windows_do_not_go_over_frames_without_a_prediction(tmp_path):
    changed = [(FIRST, SECOND)] * 3 + [(SECOND, FIRST)] * 3
    gt = write(tmp_path / "gt", {"a": maps(SAME)})
    predicted = write(tmp_path / "predicted", {"a": maps(changed)})
    content = json.loads((predicted / "panoptic.json").read_text())
    content["annotations"][0]["annotations"].pop(3)
    (predicted / "panoptic.json").write_text(json.dumps(content))
    scores = tmp_path / "scores.json"
    assert run_score(gt, predicted, "--only-predicted", "--output", scores) == 0
    found = json.loads(scores.read_text())
    assert found["VPQ_2"] == 100 and found["VPQ_4"] is None


@pytest.mark.parametrize(
    "break_it, told",
    [
        (lambda c: c["annotations"][0].pop("video_id"), 'has no "video_id"'),
        (lambda c: c["annotations"][0].update(annotations={}), 'has "annotations" {}'),
        (lambda c: c["annotations"][0]["annotations"][1].pop("file_name"), 'has no "file_name"'),
        (lambda c: c["annotations"].append("x"), "is no JSON object"),
    ],
)
def test_a_broken_json_is_one_sentence(tmp_path, capsys, break_it, told):
    gt = write(tmp_path / "gt", {"a": maps(SAME)})
    content = json.loads((gt / "panoptic.json").read_text())
    break_it(content)
    (gt / "panoptic.json").write_text(json.dumps(content))
    assert run_score(gt, gt) == 1
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and "panoptic.json" in error


def test_another_size_is_named(tmp_path, capsys):
    gt, predicted = (write(tmp_path / n, {"a": maps(SAME)}) for n in ("gt", "predicted"))
    Image.new("RGB", (8, 8)).save(predicted / "panoptic" / "a" / "000002.png")
    assert run_score(gt, predicted) == 1
    assert "is 8 x 8 pixels, but" in capsys.readouterr().err
