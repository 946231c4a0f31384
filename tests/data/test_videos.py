"""Reading and writing of videos: frames, sizes, times, and files that are damaged."""

import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from file_server import serving_files
from videos import SHAPE, at_rate, make_video, picture

from efficientps_d2.data.videos import VideoWriter, camera_frames, frames_of
from efficientps_d2_runtime.errors import InputError


def copied(source: Path, target: Path) -> tuple[list[np.ndarray], list[float], float]:
    """Read and write again; the images, times and the duration of what is written."""
    with VideoWriter(target) as writer:
        for frame in frames_of(str(source)):
            writer.write(frame.image, frame.time, frame.duration)
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        frames = [(f.to_ndarray(format="rgb24"), f.time) for f in container.decode(stream)]
        return *map(list, zip(*frames, strict=True)), float(stream.duration * stream.time_base)


@pytest.mark.parametrize("rate", [10, 25, Fraction(30000, 1001), Fraction("7.3"), Fraction(1, 2)])
def test_a_constant_rate_stays(tmp_path, rate):
    tick = 1 / Fraction(rate)
    source = make_video(tmp_path / "in.mp4", at_rate(rate, 6), tick=tick)
    images, times, duration = copied(source, tmp_path / "out.mp4")
    assert times == pytest.approx([float(i / rate) for i in range(6)], abs=1e-4)
    assert duration == pytest.approx(float(6 / rate), abs=1e-4)
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(
        float(rate), rel=1e-4
    )
    for i, image in enumerate(images):
        assert image.shape == (*SHAPE, 3) and image.dtype == np.uint8
        assert np.abs(image[:20, :28].astype(int) - (250, 0, 0)).mean() < 10
        near = [np.abs(image.astype(int) - picture(k)).mean() for k in range(6)]
        assert np.argmin(near) == i


@pytest.mark.parametrize("name", ["in.mp4", "in.webm", "in.mkv"])
def test_a_variable_rate_stays(tmp_path, name):
    times = [Fraction(t) for t in ("0", "0.1", "0.2", "0.9", "1.9", "2")]
    codec = "libvpx" if name.endswith("webm") else "mpeg4"
    source = make_video(tmp_path / name, times, codec, Fraction(1, 1000))
    images, written, duration = copied(source, tmp_path / "out.mp4")
    assert written == pytest.approx([float(t) for t in times], abs=2e-3) and len(images) == 6
    assert duration == pytest.approx(2.1, abs=0.01)


def test_times_begin_at_the_first_frame(tmp_path):
    """As those of a stream that is joined late do not."""
    late = [5 + time for time in at_rate(10, 4)]
    source = make_video(tmp_path / "in.ts", late)
    images, times, duration = copied(source, tmp_path / "out.mp4")
    assert times == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-3) and duration == pytest.approx(0.4)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_are_upright(tmp_path, degrees):
    """As OpenCV turns them, when it is told to."""
    source = make_video(tmp_path / "plain.mp4", at_rate(10, 3), tick=Fraction(1, 10))
    content = bytearray(source.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # of the matrix, in version 0 of the box
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][degrees // 90]
    matrix = [cos * 65536, sin * 65536, 0, -sin * 65536, cos * 65536, 0]
    content[place : place + 24] = np.array(matrix, ">i4").tobytes()
    (tmp_path / "turned.mp4").write_bytes(content)
    images, times, _ = copied(tmp_path / "turned.mp4", tmp_path / "out.mp4")
    video = cv2.VideoCapture(str(tmp_path / "turned.mp4"))
    video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    expected = video.read()[1][:, :, ::-1]
    assert images[0].shape == expected.shape == ((64, 48, 3) if degrees % 180 else (48, 64, 3))
    assert np.abs(images[0].astype(int) - expected).mean() < 12 and len(times) == 3


def read_until_told(file: Path) -> tuple[list, str]:
    """The frames before the error, and its sentence."""
    frames = []
    with pytest.raises(InputError) as told:
        for frame in frames_of(str(file)):
            frames.append(frame)
    return frames, str(told.value)


@pytest.mark.parametrize(
    "name, codec, options",
    [
        ("cut.avi", "mjpeg", {}),
        ("cut.mp4", "mpeg4", {"movflags": "faststart"}),
        ("cut.mkv", "mpeg4", {}),
        ("cut.webm", "libvpx", {}),
    ],
)
def test_a_cut_file_is_named_after_what_can_be_read(tmp_path, name, codec, options):
    tick = Fraction(1, 1000 if name.endswith("webm") else 10)
    whole = make_video(tmp_path / f"whole{name}", at_rate(10, 20), codec, tick, options)
    assert len(list(frames_of(str(whole)))) == 20
    content = whole.read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 6 // 10])
    frames, sentence = read_until_told(tmp_path / name)
    assert 0 < len(frames) < 18
    assert f"{name} only {len(frames)} frames (" in sentence and "of 2.0 s) can be" in sentence


def test_damage_in_the_middle_is_told(tmp_path):
    """What comes after it is read."""
    whole = make_video(tmp_path / "v.mov", at_rate(10, 20), "png", Fraction(1, 10))
    content = bytearray(whole.read_bytes())
    image_start = content.index(b"\x89PNG", len(content) // 2)
    content[image_start : image_start + 50] = bytes(50)
    whole.write_bytes(content)
    frames, sentence = read_until_told(whole)
    assert "v.mov only 19 frames can be read" in sentence
    assert frames[-1].time == Fraction("1.9") and len(frames) == 19


def test_an_edit_list_is_no_damage(tmp_path):
    """A trimmed file says that only a part of its frames is to be shown."""
    source = make_video(tmp_path / "in.mp4", at_rate(10, 20), tick=Fraction(1, 10))
    content = bytearray(source.read_bytes())
    place = content.index(b"elst") + 12  # the duration of its only edit, in ms
    assert int.from_bytes(content[place : place + 4], "big") == 2000
    content[place : place + 4] = (1000).to_bytes(4, "big")
    source.write_bytes(content)
    images, _, duration = copied(source, tmp_path / "out.mp4")
    assert len(images) == 10 and duration == pytest.approx(1)


@pytest.mark.parametrize("content", [b"", b"no video " * 100, None])
def test_no_video_is_told(tmp_path, content):
    file = tmp_path / "bad.mp4"
    if content is None:  # the index comes last
        whole = make_video(tmp_path / "whole.mp4", at_rate(10, 20)).read_bytes()
        content = whole[: len(whole) // 2]
    file.write_bytes(content)
    with pytest.raises(InputError, match="bad.mp4 has no frames") as told:
        copied(file, tmp_path / "out.mp4")
    assert str(told.value).endswith("give another video.") and str(told.value).count(". ") == 0
    assert not (tmp_path / "out.mp4").exists()


def test_sound_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match="a.wav has no frames"):
        next(frames_of(str(tmp_path / "a.wav")))


def test_an_address(tmp_path):
    make_video(tmp_path / "v.mp4", at_rate(10, 4), tick=Fraction(1, 10))

    with serving_files(tmp_path) as address:
        assert len(list(frames_of(f"{address}/v.mp4"))) == 4
        with pytest.raises(InputError, match="none.mp4 has no frames"):
            next(frames_of(f"{address}/none.mp4"))


def test_a_camera(monkeypatch):
    class Camera:
        def __init__(self, number):
            self.left = 3 if number == 0 else 0

        def read(self):
            self.left -= 1
            return self.left >= 0, np.full((4, 6, 3), (255, 0, 0), np.uint8)

        def release(self):
            self.left = 0

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    frames = list(camera_frames())
    assert len(frames) == 3 and (frames[0].image == (0, 0, 255)).all()
    assert frames[0].time <= frames[1].time <= frames[2].time
    monkeypatch.setattr(Camera, "read", lambda _: (False, None))
    with pytest.raises(InputError, match="The camera has no frames"):
        next(camera_frames())


def test_names_with_a_colon_odd_sizes_and_frames_of_another_size(tmp_path):
    file = tmp_path / "rtsp:a%d.mp4"
    with VideoWriter(file) as writer:
        for i, size in enumerate(((33, 21), (33, 21), (40, 50))):
            writer.write(np.full((*size, 3), 200, np.uint8), Fraction(i, 10), Fraction(1, 10))
    frames = list(frames_of(str(file)))
    assert [frame.image.shape for frame in frames] == [(33, 21, 3)] * 3
    assert all(np.abs(frame.image.astype(int) - 200).max() < 8 for frame in frames)


def test_frames_before_an_interruption_make_a_video(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.mp4") as writer:
        for i in range(5):
            writer.write(picture(i), Fraction(i, 10), Fraction(1, 10))
        raise KeyboardInterrupt
    assert len(list(frames_of(str(tmp_path / "out.mp4")))) == 5


@pytest.mark.parametrize("target", ["folder", "none/out.mp4", "full.mp4"])
def test_a_target_that_cannot_be_written(tmp_path, target):
    (tmp_path / "folder").mkdir()
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    told = pytest.raises(InputError, match=f"{target} cannot be written .*give another --output")
    with told, VideoWriter(tmp_path / target) as writer:
        for i in range(300):
            writer.write(picture(i % 9), Fraction(i, 10), Fraction(1, 10))
    assert writer.count == 0, "so that nobody says that it was written"


def test_without_pyav_a_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="pip install"):
        next(frames_of("v.mp4"))
