"""Videos as efficientps-d2 predict draws them."""

import json
from pathlib import Path

import cv2
import numpy as np
from project import run_verb

from efficientps_d2.prediction.painter import PredictionPainter
from efficientps_d2.prediction.panoptic_writer import VideoPanopticWriter
from efficientps_d2_runtime.result import PanopticResult, Segment


def write_video(file: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 10, (96, 64))
    for i in range(frames):
        frame = np.full((64, 96, 3), 60, np.uint8)
        frame[20:50, 10 + i : 50 + i] = (0, 0, 250)
        writer.write(frame)
    writer.release()


def test_video(model_folder, tmp_path, capsys):
    write_video(tmp_path / "in.mp4", 4)
    arguments = ["--model", str(model_folder), "--output", str(tmp_path / "out"), "--video-input"]
    assert run_verb("predict", *arguments, str(tmp_path / "in.mp4")) == 0
    video = cv2.VideoCapture(str(tmp_path / "out" / "in.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4 and video.read()[1].shape == (64, 96, 3)
    (tmp_path / "bad.mp4").write_bytes(b"")
    assert run_verb("predict", *arguments, str(tmp_path / "bad.mp4")) == 1
    assert "bad.mp4 has no frames" in capsys.readouterr().err
    assert not (tmp_path / "out" / "bad.mp4").exists()


def test_colours_and_frame_rate_stay(model_folder, tmp_path):
    """Without instances nothing is drawn: what comes out is what went in."""
    arguments = ["--model", str(model_folder), "--task", "instance", "--confidence-threshold", "1"]
    arguments += ["--output", str(tmp_path / "out")]
    blue = np.full((64, 96, 3), (200, 60, 20), np.uint8)  # BGR
    cv2.imwrite(str(tmp_path / "blue.png"), blue)
    assert run_verb("predict", *arguments, "--input", str(tmp_path / "blue.png")) == 0
    drawn = cv2.imread(str(tmp_path / "out" / "blue.png"))
    assert np.abs(drawn.astype(int) - blue[0, 0]).max() < 8
    write_video(tmp_path / "in.mp4", 3)
    assert run_verb("predict", *arguments, "--video-input", str(tmp_path / "in.mp4")) == 0
    before, after = (cv2.VideoCapture(str(tmp_path / f)) for f in ("in.mp4", "out/in.mp4"))
    assert after.get(cv2.CAP_PROP_FPS) == before.get(cv2.CAP_PROP_FPS) == 10
    difference = before.read()[1].astype(int) - after.read()[1]
    assert np.abs(difference).mean() < 8


def test_the_json_of_videos_can_be_scored(model_folder, tmp_path, capsys):
    """Segments of one id are one object in all frames of a video."""
    names = ["one", "two"]
    for name in names:
        write_video(tmp_path / f"{name}.mp4", 3)
    out = tmp_path / "out"
    arguments = ["--model", model_folder, "--output", out, "--save-json", "--video-input"]
    assert run_verb("predict", *arguments, *(tmp_path / f"{n}.mp4" for n in names)) == 0
    content = json.loads((out / "panoptic.json").read_text())
    assert [v["video_id"] for v in content["videos"]] == names
    for video, images in zip(content["annotations"], content["videos"], strict=True):
        assert [i["file_name"] for i in images["images"]] == [f"00000{i}.png" for i in range(3)]
        classes = {}
        for frame in video["annotations"]:
            for segment in frame["segments_info"]:
                assert (
                    classes.setdefault(segment["id"], segment["category_id"])
                    == (segment["category_id"])
                )
        assert len(classes) < sum(len(f["segments_info"]) for f in video["annotations"])
    sides = [x for s in ("gt", "pred") for x in (f"--{s}", out / "panoptic.json")]
    sides += ["--gt-dir", out / "panoptic", "--pred-dir", out / "panoptic"]
    assert run_verb("score", *sides, "--processes", 1) == 0
    assert "| All " in capsys.readouterr().out


def test_results_of_images_are_not_replaced_by_those_of_videos(model_folder, tmp_path, capsys):
    """A longer video of the same name leaves no frames."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 96, 3), np.uint8))
    arguments = ["--model", model_folder, "--save-json", "--output", tmp_path / "out"]
    assert run_verb("predict", *arguments, tmp_path / "a.png") == 0
    write_video(tmp_path / "v.mp4", 3)
    assert run_verb("predict", *arguments, "--video-input", tmp_path / "v.mp4") == 1
    assert "that --save-json has not written" in capsys.readouterr().err
    arguments[-1] = tmp_path / "videos"
    for frames in (3, 1):
        write_video(tmp_path / "v.mp4", frames)
        assert run_verb("predict", *arguments, "--video-input", tmp_path / "v.mp4") == 0
        assert len(list((tmp_path / "videos" / "panoptic" / "v").iterdir())) == frames


def test_ids_of_a_video_do_not_depend_on_what_is_drawn(model_folder, tmp_path):
    write_video(tmp_path / "in.mp4", 3)
    found = []
    for task in ("panoptic", "all"):
        out = tmp_path / task
        arguments = ["--model", model_folder, "--output", out, "--save-json", "--task", task]
        assert run_verb("predict", *arguments, "--video-input", tmp_path / "in.mp4") == 0
        found.append(json.loads((out / "panoptic.json").read_text()))
    assert found[0] == found[1]


def test_videos_whose_results_would_be_one_file_are_refused(model_folder, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    for folder in (tmp_path, tmp_path / "more"):
        write_video(folder / "in.mp4", 1)
    videos = [tmp_path / "in.mp4", tmp_path / "more" / "in.mp4"]
    arguments = ["--model", model_folder, "--output", tmp_path / "out", "--video-input"]
    assert run_verb("predict", *arguments, *videos) == 1
    assert "Some videos would have results of the same name" in capsys.readouterr().err
    arguments[3] = tmp_path / "out.mp4"
    assert run_verb("predict", *arguments, videos[0], "--save-json") == 1
    assert "--save-json needs a folder as --output" in capsys.readouterr().err


def test_a_damaged_video_is_told_and_the_next_begins(model_folder, tmp_path, capsys):
    """What can be read of it is written."""
    whole = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(10):
        writer.write(np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    writer.release()
    content = whole.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    arguments = ["--model", str(model_folder), "--output", str(tmp_path / "out")]
    write_video(tmp_path / "good.mp4", 1)
    (tmp_path / "empty.mp4").write_bytes(b"")
    videos = [tmp_path / name for name in ("cut.avi", "empty.mp4", "good.mp4")]
    assert run_verb("predict", *arguments, "--save-json", "--video-input", *videos) == 1
    error = capsys.readouterr().err
    assert "cut.avi only" in error and "empty.mp4 has no frames" in error
    assert cv2.VideoCapture(str(tmp_path / "out" / "good.mp4")).read()[0]
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    counts = {v["video_id"]: len(v["annotations"]) for v in content["annotations"]}
    assert counts["cut"] and counts["good"] and not counts["empty"]
    frames = cv2.VideoCapture(str(tmp_path / "out" / "cut.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)
    assert 0 < frames < 9


def test_after_ctrl_c_the_frames_so_far_make_a_video(model_folder, tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "in.mp4", 4)
    draw, drawn = PredictionPainter.draw, []

    def interrupted(*arguments):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(PredictionPainter, "draw", interrupted)
    arguments = ["--model", str(model_folder), "--output", str(tmp_path / "out.mp4")]
    assert run_verb("predict", *arguments, "--video-input", str(tmp_path / "in.mp4")) == 130
    assert f"Wrote {tmp_path / 'out.mp4'}" in capsys.readouterr().out
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 2 and video.read()[0]


def test_videos_are_listed_before_the_next_begins(tmp_path):
    """So that a kill loses the last one only."""
    with VideoPanopticWriter(tmp_path, [{"id": 1, "name": "road", "isthing": 0}]) as writer:
        writer.begin("one")
        zeros = np.zeros((4, 4), np.int32)
        writer.add(PanopticResult(zeros + 1, [Segment(1, 0, "road", False, 1.0, 16)], None))
        writer.begin("two")
        (video,) = json.loads((tmp_path / "panoptic.json").read_text())["annotations"]
        assert video["video_id"] == "one" and len(video["annotations"]) == 1
