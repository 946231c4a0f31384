"""A model for batches that needs no network: red pixels are a car, and white images kill it."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2_runtime.batch.image_table import write_listing
from efficientps_d2_runtime.batch.ledger import Ledger
from efficientps_d2_runtime.batch.listing import list_images
from efficientps_d2_runtime.batch.output import Manifest, Output
from efficientps_d2_runtime.batch.storage import Folder
from efficientps_d2_runtime.batch.worker import Job, Worker
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import IMAGE_SUFFIXES, read_rgb
from efficientps_d2_runtime.result import PanopticResult, Segment

CATEGORIES = [
    {"id": 7, "name": "road", "isthing": 0, "color": [128, 64, 128]},
    {"id": 26, "name": "car", "isthing": 1, "color": [0, 0, 142]},
]
FILES = {"weights": b"of the model"}


class StubModel:
    """Writes its process's id into a folder, and waits a little for each image."""

    categories = CATEGORIES

    def __init__(self, pids: str = "", pause: float = 0):
        self.pause = pause
        if pids:
            Path(pids, str(os.getpid())).touch()

    def read(self, file: Path) -> np.ndarray:
        return read_rgb(file)

    def predict(self, images: list[np.ndarray]) -> list[PanopticResult]:
        assert len({image.shape for image in images}) == 1, "images of several sizes"
        return [self._predict(image) for image in images]

    def _predict(self, image: np.ndarray) -> PanopticResult:
        time.sleep(self.pause)
        if (image == 255).all():
            os.kill(os.getpid(), signal.SIGKILL)
        if (image == 254).all():
            raise RuntimeError("no kernel for\nthis")
        if (image == 253).all():
            raise InputError("This is too dark; give another.")
        pan_seg = (image[:, :, 0] > 127).astype(np.int32) + 1
        areas = np.bincount(pan_seg.ravel(), minlength=3).tolist()
        segments = [
            Segment(1, 0, "road", False, 0.6, areas[1]),
            Segment(2, 1, "car", True, 0.75, areas[2]),
        ]
        return PanopticResult(pan_seg, [s for s in segments if s.area], None)


def load_stub(pids: str, pause: float, threads: int, has_gpu: bool, folder: Path) -> StubModel:
    if (folder / "weights").read_bytes() != FILES["weights"]:
        raise InputError("The weights are of another model; copy them again.")
    return StubModel(pids, pause)


def stub_model(pids: Path | str = "", pause: float = 0, sha256: str = "1", weights: str = ""):
    """A ``BatchModel``; workers need not import what this needs."""
    from efficientps_d2.prediction.batch_models import BatchModel

    load = partial(load_stub, str(pids), pause)
    about = {"name": "stub", "sha256": sha256}
    files = {"weights": weights.encode()} if weights else FILES
    return BatchModel(about, files, load, CATEGORIES, IMAGE_SUFFIXES)


def begin_batch(source: str, output: str, size: int = 4, column: str = "", **options) -> Worker:
    """A worker for a new output."""
    table, to = list_images(source, column), Output(output)
    about = {"name": "stub", "sha256": "1"}
    manifest = Manifest(source, column, len(table), size, about, CATEGORIES, "2026-11-30")
    to.begin(manifest, write_listing(table, size))
    job = Job(Folder(source), column, to, partial(load_stub, "", 0, 1, False), **options)
    return Worker(job, Ledger(1, FILES))


def write_images(folder: Path, count: int, size: tuple[int, int] = (12, 16)) -> None:
    """Images with random squares, 0000.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = np.zeros((*size, 3), dtype=np.uint8)
        y, x = rng.integers(0, size[0] - 3), rng.integers(0, size[1] - 3)
        pixels[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4), 0] = 200
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")


def write_plain(file: Path, value: int) -> None:
    """An image of one gray: 255 kills a worker, 254 and 253 raise errors."""
    Image.new("RGB", (16, 12), (value,) * 3).save(file)
