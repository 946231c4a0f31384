"""Videos: their frames, upright and with their times, and writing of drawn ones.

PyAV is imported where it is used, and after OpenCV's window has opened: the other way round some
of its wheels make OpenCV's windows hang. It is optional, because its wheels contain encoders under
the GPL; none of them is used here.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from efficientps_d2_runtime.errors import InputError, one_line

TICK = Fraction(1, 60000)  # MPEG-4 allows 65535 in a second; of 29.97 Hz a frame takes 2002
QUANTIZER = 3  # from 1, the best, to 31
USUAL_RATE = Fraction(25)  # of videos that tell none
TIMEOUT = 30  # seconds, of addresses
SLACK = 0.25  # seconds that whole files may be shorter than they say


class UnreadableVideo(InputError):
    """A video that cannot be read, or not to its end."""


@dataclass
class Frame:
    """A frame of a video; times are in seconds since the first frame."""

    image: np.ndarray  # (H, W, 3) uint8 RGB, upright
    time: Fraction
    duration: Fraction


def frames_of(name: str) -> Iterator[Frame]:
    """Frames of a video, with a progress bar.

    Args:
        name: a file, or an address such as rtsp://camera or https://host/video.mp4.

    Raises:
        UnreadableVideo: if nothing can be read, or, after what can be read, if it is damaged.
    """
    with contextlib.closing(_open(name)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate or USUAL_RATE
        declared = _declared_duration(container, stream)
        total = round(declared * rate) if declared else None
        bar = tqdm(total=total, desc="predicting", unit="frame")
        errors, start, end = [], None, Fraction(0)
        with contextlib.closing(bar):
            for decoded in _decoded(container, stream, errors):
                duration = (decoded.duration or 0) * decoded.time_base or 1 / rate
                if decoded.pts is not None:
                    start = decoded.pts * decoded.time_base if start is None else start
                    end = decoded.pts * decoded.time_base - start
                image = np.rot90(decoded.to_ndarray(format="rgb24"), round(decoded.rotation / 90))
                yield Frame(np.ascontiguousarray(image), end, duration)
                end += duration
                bar.update()
    if bar.n == 0:
        raise UnreadableVideo(f"{name} has no frames that can be read; give another video.")
    short = declared is not None and declared - end > max(SLACK, 2 / rate)
    if short or errors:
        of = f" ({float(end):.1f} of {float(declared):.1f} s)" if short else ""
        told = f"Of {name} only {bar.n} frames{of} can be read; repair or replace it."
        raise UnreadableVideo(told)


def camera_frames() -> Iterator[Frame]:
    """Frames of the first camera, with a counter.

    Raises:
        InputError: if there is none.
    """
    camera, start = cv2.VideoCapture(0), time.monotonic()
    bar = tqdm(desc="predicting", unit="frame")
    try:
        while True:
            read, image = camera.read()
            if not read:
                break
            now = Fraction(time.monotonic() - start)
            yield Frame(np.ascontiguousarray(image[:, :, ::-1]), now, 1 / USUAL_RATE)
            bar.update()
    finally:
        camera.release()
        bar.close()
    if bar.n == 0:
        raise InputError("The camera has no frames that can be read; give a --video-input.")


def _open(name: str):
    """PyAV's container of a file or address, with a video in it."""
    av = _library()
    address = "://" in name
    options = {"rtsp_transport": "tcp"} if name.startswith("rtsp") else {}  # UDP loses packets
    try:
        container = av.open(
            name if address else f"file:{name}",  # the name may have a colon
            options=options,
            timeout=TIMEOUT if address else None,
        )
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableVideo(
            f"{name} has no frames that can be read ({_reason(error)}); give another video."
        ) from error
    if not container.streams.video:
        container.close()
        raise UnreadableVideo(f"{name} has no frames, only other data; give another video.")
    return container


def _decoded(container, stream, errors: list[Exception]) -> Iterator:
    """PyAV's frames; what cannot be decoded is left out and added to ``errors``.

    Errors before the first frame do not count: recordings of streams begin between key frames.
    """
    av = _library()
    packets, packet, started = container.demux(stream), True, False
    while packet is not None:
        frames = []
        try:
            packet = next(packets, None)
            frames = stream.decode(packet)  # of None those that the decoder still holds
        except av.error.EOFError:
            pass
        except av.error.FFmpegError as error:
            if started:
                errors.append(error)
        started = started or bool(frames)
        yield from frames


def _declared_duration(container, stream) -> Fraction | None:
    """Seconds of video that the file should have, if its format says so reliably."""
    formats = container.format.name
    if "avi" in formats:  # its duration is a guess from the size of the file
        return stream.frames / stream.average_rate if stream.average_rate else None
    if "mp4" in formats:  # with regard to what an edit list hides
        return stream.duration * stream.time_base if stream.duration else None
    if "matroska" in formats and len(container.streams) == 1 and container.duration:
        start = (stream.start_time or 0) * stream.time_base
        return Fraction(container.duration, 1_000_000) - start
    return None


class VideoWriter:
    """Writes an .mp4 whose frames are shown at given times; a context manager.

    Nothing is written without frames. Also after an error the frames so far make a video.
    """

    def __init__(self, file: Path):
        self.file, self.count = file, 0  # frames that can be shown
        self.ticks, self.container = -1, None

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, image: np.ndarray, time: Fraction, duration: Fraction) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) uint8 RGB; those of another size than the first are resized.
            time: seconds since the beginning, more than that of the frame before.
            duration: seconds; matters for the last frame.
        """
        av = _library()
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self.ticks = max(round(time / TICK), self.ticks + 1)
        frame.pts, frame.time_base = self.ticks, TICK
        with self._told():
            if self.container is None:
                self._open(image.shape[1], image.shape[0])
            for packet in self.stream.encode(frame):
                packet.duration = max(1, round(duration / TICK))
                self.container.mux(packet)
        self.count += 1

    def _open(self, width: int, height: int) -> None:
        self.container = _library().open(f"file:{self.file}", "w", format="mp4")
        self.stream = self.container.add_stream("mpeg4", rate=USUAL_RATE)
        self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, "yuv420p"
        codec = self.stream.codec_context
        codec.time_base = self.stream.time_base = TICK
        codec.qmin = codec.qmax = QUANTIZER

    def __exit__(self, *_) -> None:
        if self.container is not None:
            with self._told(), contextlib.closing(self.container):
                self.container.mux(self.stream.encode(None))

    @contextlib.contextmanager
    def _told(self):
        av = _library()
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            self.count = 0
            raise InputError(
                f"{self.file} cannot be written ({_reason(error)}); give another --output."
            ) from error


def _library():
    try:
        import av
    except ImportError as error:
        raise InputError(
            'PyAV, which reads videos, is not installed; run: pip install "efficientps-d2[video]"'
        ) from error
    return av


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or one_line(error)
