"""What memory a network takes is measured, and an image that needs more is refused before."""

import numpy as np
import pytest
from PIL import Image
from small_network import write_small_network

from efficientps_d2_runtime import InputError, load, memory, network
from efficientps_d2_runtime.effort import measured
from efficientps_d2_runtime.memory import MARGIN, Need, free_memory, peaks_of

IMAGE = np.zeros((30, 50, 3), dtype=np.uint8)


def small(tmp_path, **metadata):
    return load(write_small_network(tmp_path / "small.onnx", **metadata))


@pytest.mark.parametrize("need", [None, "500 700 0", "no numbers", "1 2"])
def test_an_image_that_needs_too_much_memory_is_refused_before(tmp_path, monkeypatch, need):
    """Also by a guess, of a file in which nobody has noted what it needs."""
    found = small(tmp_path, memory=need)
    monkeypatch.setattr(network, "free_memory", lambda: 600_000)
    with pytest.raises(InputError, match="30 x 50 pixels needs about 0.0 GB .* give a smaller"):
        found(IMAGE)
    monkeypatch.setattr(network, "free_memory", lambda: None)
    assert found(IMAGE).segments
    monkeypatch.setattr(network, "free_memory", lambda: 100_000_000)
    assert found(IMAGE).segments
    found.resize = (1024, 2048)  # on which the network then computes
    with pytest.raises(InputError, match=r"needs about 1\.[23] GB"):
        found(IMAGE)


@pytest.mark.parametrize("resize", [(0, 0), (512, 1024)])
def test_the_largest_image_that_fits_is_not_refused(tmp_path, monkeypatch, resize):
    found = small(tmp_path, memory="10000000 500 50")
    found.resize = resize
    monkeypatch.setattr(network, "free_memory", lambda: 10**9)
    side = int(found.most_pixels(10**9) ** 0.5)
    found._require_memory(np.broadcast_to(np.uint8(0), (side, side, 3)))
    with pytest.raises(InputError, match="give a smaller one"):
        found._require_memory(np.broadcast_to(np.uint8(0), (side + 9, side + 9, 3)))


class Hungry:
    """A network that takes known bytes for its own pixels, then others for those of the image."""

    def __init__(self, resize):
        self.resize = resize
        self.computed_pixels = network.Network.computed_pixels.__get__(self)

    def __call__(self, image, image_format):
        height, width = image.shape[:2]
        for count in (40 * self.computed_pixels(height, width), 10 * height * width):
            np.ones(20_000_000 + int(count), dtype=np.uint8)


@pytest.mark.parametrize("resize", [(0, 0), (1024, 2048)])
def test_memory_is_measured(resize):
    need = measured(Hungry(resize), Image.fromarray(IMAGE))
    assert need.network_pixel == pytest.approx(40, rel=0.1)
    assert need.image_pixel == (pytest.approx(10, rel=0.1) if resize[0] else 0)
    assert need.fixed == pytest.approx(20e6, rel=0.5)
    assert need.total(1e6, 1e6) == MARGIN * (need.fixed + need.network_pixel * 1e6)


def test_nothing_is_measured_where_nobody_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    assert peaks_of([lambda: None]) is None
    assert measured(Hungry((0, 0)), Image.fromarray(IMAGE)) is None


def test_what_a_container_keeps_of_files_is_free(tmp_path, monkeypatch):
    """The kernel gives it up when a program asks for memory."""
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    assert free_memory() is None
    (tmp_path / "meminfo").write_text("MemTotal: 16 kB\nMemAvailable: 9000 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    assert free_memory() == 9000 * 1024, "no limit"
    (tmp_path / "memory.max").write_text("5000000\n")
    assert free_memory() == 2_000_000
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 1000000\n")
    assert free_memory() == 3_000_000


def test_need_is_that_of_the_larger_part():
    assert Need(0, 100, 10).of_pixels(5, 5) == 500 and Need(0, 100, 10).of_pixels(5, 500) == 5000


@pytest.mark.parametrize(
    "error, cure",
    [
        ("Failed to allocate memory for requested buffer", "give a smaller one"),
        ("std::bad_alloc", "give a smaller one"),
        ("Non-zero status code", "write the file again"),
    ],
)
def test_what_fails_in_onnx_runtime_has_a_cure(tmp_path, monkeypatch, error, cure):
    found = small(tmp_path)

    def run(*args):
        raise RuntimeError(error)

    monkeypatch.setattr(found, "session", type("Session", (), {"run": run}))
    told = f"ONNX Runtime failed on an image of 30 x 50 pixels .{error}.; {cure}."
    with pytest.raises(InputError, match=told):
        found(IMAGE)
