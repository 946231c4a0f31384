"""What memory a network takes is measured, and an image that needs more is refused before."""

import mmap

import numpy as np
import pytest
from PIL import Image
from small_network import write_small_network

from efficientps_d2_runtime import InputError, effort, images, load, memory, network, run
from efficientps_d2_runtime.effort import measured
from efficientps_d2_runtime.memory import MARGIN, Need, free_memory, peaks_of
from efficientps_d2_runtime.network_file import BYTES, BYTES_OF_CLASS

IMAGE = np.zeros((30, 50, 3), dtype=np.uint8)
measuring = pytest.mark.skipif(
    peaks_of([lambda: None]) is None, reason="this system does not tell the memory of a process"
)


def small(tmp_path, **metadata):
    return load(write_small_network(tmp_path / "small.onnx", **metadata))


GUESSED = [None, "no numbers", "1 2", "nan 1 1", "-1e12 5 5", "inf 1 1"]


@pytest.mark.parametrize("need", ["500 700 0", *GUESSED])
def test_an_image_that_needs_too_much_memory_is_refused_before(tmp_path, monkeypatch, need):
    """Also by a guess, of a file in which nobody has noted what it needs."""
    found = small(tmp_path, memory=need, size_divisibility="1")
    monkeypatch.setattr(network, "free_memory", lambda: 600_000)
    with pytest.raises(InputError, match="30 x 50 pixels needs about 0.0 GB .* give a smaller"):
        found(IMAGE)
    monkeypatch.setattr(network, "free_memory", lambda: None)
    assert found(IMAGE).segments
    monkeypatch.setattr(network, "free_memory", lambda: 100_000_000)
    assert found(IMAGE).segments
    found.resize = (1024, 2048)  # on which the network then computes; smaller ones, too
    with pytest.raises(InputError, match=r"needs about 1\.[23] GB .*; end other programs, or"):
        found(IMAGE)


def test_a_file_is_refused_before_it_is_decoded(tmp_path, monkeypatch, capsys):
    """It may not fit either."""
    found = small(tmp_path)
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    monkeypatch.setattr(network, "free_memory", lambda: 1000)
    monkeypatch.setattr(images, "decode", None)
    with pytest.raises(InputError, match="30 x 50 pixels needs about"):
        found(tmp_path / "image.png")
    command = [str(tmp_path / "small.onnx"), str(tmp_path / "image.png"), "--output", "x.png"]
    assert run.main(command) == 1
    assert "image.png: An image of 30 x 50 pixels needs about" in capsys.readouterr().err


def test_padding_counts(tmp_path):
    """A thin image becomes 32 times as large."""
    found = small(tmp_path, size_divisibility="32")
    assert found.computed_pixels(1, 20_000) == 32 * 20_000
    assert found.computed_pixels(64, 96) == 64 * 96
    assert found.computed_pixels(65, 97) == 96 * 128
    found.resize = (512, 1024)
    assert found.computed_pixels(100, 100) == 512 * 512
    assert found.computed_pixels(10, 10_000) == 32 * 1024


@pytest.mark.parametrize("resize", [(0, 0), (512, 1024)])
def test_the_largest_image_that_fits_is_not_refused(tmp_path, monkeypatch, resize):
    found = small(tmp_path, memory="10000000 500 50", size_divisibility="1")
    found.resize = resize
    monkeypatch.setattr(network, "free_memory", lambda: 10**9)
    side = int(found.most_pixels(10**9) ** 0.5)
    found.require_memory(side, side)
    with pytest.raises(InputError, match="give a smaller one"):
        found.require_memory(side + 9, side + 9)


def test_a_network_may_be_too_large_for_any_image(tmp_path):
    assert small(tmp_path, memory="1e9 500 50").most_pixels(10**9) == 0
    found = small(tmp_path, memory="0 5000 50")
    found.resize = (512, 1024)
    assert found.most_pixels(10**9) == 0


class Hungry:
    """A network that takes known bytes for its own pixels, then others for those of the image."""

    def __init__(self, resize, fixed, of_network=200, classes=19):
        self.resize, self.fixed, self.divisor = resize, fixed, 32
        self.of_network, self.categories = of_network, ("car",) * classes
        self.computed_pixels = network.Network.computed_pixels.__get__(self)

    def __call__(self, image, image_format):
        height, width = image.shape[:2]
        for count in (self.of_network * self.computed_pixels(height, width), 40 * height * width):
            with mmap.mmap(-1, self.fixed + count) as memory:  # no block that is free already
                np.frombuffer(memory, dtype=np.uint8)[:] = 1


@measuring
@pytest.mark.parametrize(
    "resize", [(0, 0), (512, 1024), (512, 512), (512, 400), (512, 725), (800, 1333)]
)
def test_memory_is_measured(resize):
    need = measured(Hungry(resize, 10_000_000), Image.fromarray(IMAGE))
    assert need.network_pixel == pytest.approx(200, rel=0.1)
    assert need.image_pixel == (pytest.approx(40, rel=0.1) if resize[0] else 0)
    assert need.fixed == pytest.approx(10e6, rel=0.3)
    assert need.total(1e6, 1e6) == MARGIN * (need.fixed + need.network_pixel * 1e6)


@measuring
def test_a_network_that_hides_what_the_fusion_takes():
    """It is guessed then, for the peak would be far too much for each pixel."""
    need = measured(Hungry((800, 1333), 50_000_000, 1500, classes=5), Image.fromarray(IMAGE))
    assert need.network_pixel == pytest.approx(1500, rel=0.1)
    assert need.image_pixel == 5 * BYTES_OF_CLASS


@measuring
def test_a_network_that_sees_every_image_in_one_size():
    need = measured(Hungry((32, 100), 1_000_000, 50_000), Image.fromarray(IMAGE))
    assert need.network_pixel > 0 and need.total(32 * 128, 0) > 50_000 * 32 * 128


@measuring
def test_the_measuring_as_a_command(tmp_path, capsys):
    write_small_network(tmp_path / "small.onnx")
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    assert effort.main([str(tmp_path / "small.onnx"), str(tmp_path / "image.png")]) == 0
    assert len(capsys.readouterr().out.split()) == 3
    assert effort.main([str(tmp_path / "small.onnx"), "nowhere.png"]) == 1
    assert "Error: nowhere.png cannot be read" in capsys.readouterr().err


def test_the_image_that_is_measured_fits(monkeypatch):
    """The guard is off meanwhile."""
    sizes = []

    class Watched(Hungry):
        def __call__(self, image, image_format):
            sizes.append(image.shape[0] * image.shape[1])

    monkeypatch.setattr(effort, "free_memory", lambda: 10**9)
    measured(Watched((800, 1333), 0, classes=133), Image.fromarray(IMAGE))
    assert sizes[-1] * BYTES_OF_CLASS * 133 <= 5e8
    measured(Watched((0, 0), 0, classes=133), Image.fromarray(IMAGE))
    assert sizes[-1] * (BYTES + BYTES_OF_CLASS * 133) <= 5e8


def test_nothing_is_measured_where_nobody_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    assert peaks_of([lambda: None]) is None
    assert measured(Hungry((0, 0), 0), Image.fromarray(IMAGE)) is None


def test_what_a_container_keeps_of_files_is_free(tmp_path, monkeypatch):
    """The kernel gives it up when a program asks for memory."""
    monkeypatch.setattr(memory, "CONTAINERS", tmp_path)
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
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
    inner = tmp_path / "user.slice" / "of.service"
    inner.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/user.slice/of.service\n")
    (inner.parent / "memory.max").write_text("1000000")
    (inner.parent / "memory.current").write_text("400000")
    assert free_memory() == 600_000, "of a group around that of the process"


def test_containers_of_the_first_kind_have_limits_too(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CONTAINERS", tmp_path)
    monkeypatch.setattr(memory, "PROCESS", tmp_path)
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    folder = tmp_path / "memory" / "docker" / "abc"
    folder.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("5:cpu:/docker/abc\n4:memory:/docker/abc\n")
    (folder / "memory.limit_in_bytes").write_text("5000000\n")
    (folder / "memory.usage_in_bytes").write_text("3000000\n")
    (folder / "memory.stat").write_text("total_inactive_file 1000000\n")
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
