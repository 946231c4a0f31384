"""Videos as efficientps-d2 predict draws them."""

from pathlib import Path

import cv2
import numpy as np
from project import run_verb

from efficientps_d2 import load_predictor
from efficientps_d2.prediction.painter import PredictionPainter
from efficientps_d2.prediction.predictor import Prediction, Segment


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


def test_an_instance_keeps_its_colour(model_folder):
    metadata = load_predictor(model_folder, "cpu").metadata
    painter, seen = PredictionPainter(metadata, video=True), []
    for shift in (0, 2, 4):
        pan_seg = np.ones((64, 96), np.int32)
        pan_seg[20:50, 10 + shift : 50 + shift] = 2
        segments = [Segment(1, 0, "road", False, 0.9, 1), Segment(2, 2, "car", True, 0.9, 1200)]
        prediction = Prediction(pan_seg, segments, pan_seg.astype(np.uint8), None)
        drawn = painter.draw(np.full((64, 96, 3), 100, np.uint8), prediction, "panoptic")
        seen.append(drawn[25, 20].astype(int))
    assert np.ptp(seen, axis=0).max() < 8


def test_a_damaged_video_is_told(model_folder, tmp_path, capsys):
    """What can be read of it is written."""
    whole = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(10):
        writer.write(np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    writer.release()
    content = whole.read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    arguments = ["--model", str(model_folder), "--output", str(tmp_path / "out")]
    assert run_verb("predict", *arguments, "--video-input", str(tmp_path / "cut.avi")) == 1
    assert "cut.avi only" in capsys.readouterr().err
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
