"""Drives through painted streets, whose ground truth knows each object in all frames."""

import json

import numpy as np
import pytest
from project import run_verb

from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.data.streets.scene import NEAREST, paint_scene, place_items
from efficientps_d2.data.streets.videos import (
    CATEGORIES,
    label_frame,
    paint_frame,
    write_street_videos,
)
from efficientps_d2.data.videos import frames_of
from efficientps_d2_runtime.errors import InputError

SEED = [0, 0]


def test_a_drive_begins_with_the_scene_of_an_image():
    items = place_items(np.random.default_rng(5), time=0.0)
    _, objects = paint_scene(np.random.default_rng(5))
    assert [i.label for i in items] == [o["label"] for o in objects]
    for item, polygon in zip(items, objects, strict=True):
        assert np.abs(item.outline - polygon["polygon"]).max() <= 0.5


def things(time: float) -> dict[int, tuple[int, np.ndarray]]:
    """Class and mask of each thing, by its id."""
    pan_seg, segments = label_frame(place_items(np.random.default_rng(SEED), time))
    return {
        s["id"]: (s["category_id"], pan_seg == s["id"])
        for s in segments
        if CATEGORIES[s["category_id"]]["isthing"]
    }


def test_objects_move_and_keep_their_ids():
    frames = [things(i / 15) for i in range(45)]
    overlaps, moved = [], set()
    for before, after in zip(frames, frames[1:], strict=False):
        for id_ in before.keys() & after.keys():
            assert before[id_][0] == after[id_][0]
            masks = before[id_][1], after[id_][1]
            overlaps.append((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
            moved |= {id_} if overlaps[-1] < 0.95 else set()
    assert np.mean(np.array(overlaps) > 0.3) > 0.8 and len(moved) >= 5
    assert frames[0].keys() & frames[-1].keys() and frames[0].keys() - frames[-1].keys()


def test_what_is_passed_is_left_behind():
    seen = {item.number for item in place_items(np.random.default_rng(SEED), time=0.0)}
    left = place_items(np.random.default_rng(SEED), time=6.0)
    assert seen - {item.number for item in left}
    assert min(item.depth for item in left if item.number) >= NEAREST


def test_segments_are_those_of_the_map():
    for time in (0.0, 9.0):
        image, pan_seg, segments = paint_frame(SEED, time)
        assert image.shape == (256, 512, 3) and image.dtype == np.uint8
        areas = {s["id"]: s["area"] for s in segments}
        assert areas == {int(i): int((pan_seg == i).sum()) for i in np.unique(pan_seg)}
        assert 0 not in areas


def test_files(tmp_path):
    write_street_videos(tmp_path / "drives", count=2, frames=3)
    content = json.loads((tmp_path / "drives" / "panoptic.json").read_text())
    assert [v["video_id"] for v in content["videos"]] == ["street_0", "street_1"]
    frames = list(frames_of(str(tmp_path / "drives" / "street_1.mp4")))
    assert [float(f.time) for f in frames] == pytest.approx([0, 1 / 15, 2 / 15], abs=1e-4)
    for i, frame in enumerate(frames):
        image, pan_seg, _ = paint_frame([0, 1], i / 15)
        file = tmp_path / "drives" / "panoptic" / "street_1" / f"{i:06d}.png"
        assert (read_segment_ids(str(file)) == pan_seg).all()
        assert np.abs(frame.image.astype(int) - image).mean() < 8
    with pytest.raises(InputError, match="exists already"):
        write_street_videos(tmp_path / "drives")


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("efficientps_d2.data.streets.videos.FRAMES", 2)
    assert run_verb("streets", "--videos", tmp_path / "drives", "--count", 1) == 0
    assert "Wrote 1 videos with" in capsys.readouterr().out
    assert (tmp_path / "drives" / "street_0.mp4").is_file()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--labelme", "x", "--seed", 0], "--seed does nothing with --labelme; leave it out"),
        (["--videos", "x", "--if-missing"], "--if-missing does nothing with --videos"),
        (["--count", 3], "give --train and --val"),
    ],
)
def test_flags_that_do_nothing_are_refused(tmp_path, monkeypatch, capsys, flags, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        run_verb("streets", *flags)
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())
