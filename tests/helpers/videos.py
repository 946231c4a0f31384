"""Tiny videos with frames at given times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SHAPE = (48, 64)


def picture(i: int) -> np.ndarray:
    """(48, 64, 3) uint8 RGB: red at the top left, noise that is not the same in two frames."""
    image = np.random.default_rng(i).integers(0, 100, (*SHAPE, 3)).astype(np.uint8)
    image[:24, :32] = (250, 0, 0)
    return image


def make_video(file: Path, times, codec="mpeg4", tick=Fraction(1, 6000), options=None) -> Path:
    """A video with frames at times in seconds; the last is shown as long as the one before."""
    with av.open(str(file), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.gop_size = SHAPE[1], SHAPE[0], 5
        stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
        stream.codec_context.time_base = stream.time_base = tick
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(i), "rgb24")
            frame.pts, frame.time_base = round(time / tick), tick
            for packet in stream.encode(frame):
                packet.duration = round((times[-1] - times[-2]) / tick)
                container.mux(packet)
        container.mux(stream.encode(None))
    return file


def at_rate(rate: float | Fraction, count: int) -> list[Fraction]:
    return [i / Fraction(rate) for i in range(count)]
