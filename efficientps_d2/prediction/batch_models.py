"""Models as they are sent to the workers of a batch."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from efficientps_d2.checkpoint.saved_model import CONFIG, METADATA, read_saved_model
from efficientps_d2.data import bands
from efficientps_d2.data.coco_panoptic import categories_of
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA
from efficientps_d2.prediction.overrides import asks_to_augment, threshold_overrides
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2.prediction.result import Prediction
from efficientps_d2.utils.env import keep_freed_memory, quiet_known_warnings
from efficientps_d2_runtime.batch.networks import MODEL, load_onnx
from efficientps_d2_runtime.batch.worker import Model
from efficientps_d2_runtime.images import IMAGE_SUFFIXES
from efficientps_d2_runtime.network import load


@dataclass(frozen=True)
class BatchModel:
    """A model as it is sent to workers."""

    about: dict  # name, sha256 and settings: what results depend on
    files: dict[str, bytes]
    load: Callable[[int, bool, Path], Model]  # of threads, whether there is a GPU, and the folder
    categories: list[dict]
    suffixes: tuple[str, ...]  # of images
    uses_gpu: bool = True


def pytorch_model(
    folder: Path | None,
    threshold: float | None = None,
    precision: str = "float32",
    tile: int = 0,
    overrides: list[str] | None = None,
) -> BatchModel:
    """A saved model, which :class:`Predictor` runs.

    Args:
        folder: as for :func:`load_predictor`.
        threshold: of the scores of instances; by default that of the model.
        precision, tile: see :class:`Predictor`.
        overrides: of the config, alternating keys and values.

    Raises:
        InputError: if it cannot be read, or not be augmented although the overrides ask for it.
    """
    given = list(overrides or [])
    cfg, metadata = read_saved_model(folder, given)
    if asks_to_augment(cfg, given):
        PanopticTTA.require(cfg)
    overrides = [*given, *map(str, threshold_overrides(cfg, threshold, given))]
    weights = Path(cfg.MODEL.WEIGHTS)
    names = (weights.name, CONFIG, METADATA)
    files = {name: (weights.parent / name).read_bytes() for name in names}
    about = {
        "name": str(folder or weights.parent),
        "sha256": _digest(files),
        "--runtime": "pytorch",
        "--confidence-threshold": threshold,
        "--precision": precision,
        "--tile": tile,
        "--opts": list(map(str, given)),
    }
    of_bands = cfg.INPUT.FORMAT == bands.BANDS
    suffixes = (*IMAGE_SUFFIXES, *bands.ARRAY_SUFFIXES) if of_bands else IMAGE_SUFFIXES
    run = partial(_load_pytorch, precision, tile, overrides)
    uses_gpu = "MODEL.DEVICE" not in given[::2] or cfg.MODEL.DEVICE != "cpu"
    return BatchModel(about, files, run, categories_of(metadata), suffixes, uses_gpu)


def onnx_model(file: Path, threshold: float | None = None) -> BatchModel:
    """A network in one file, which workers run without PyTorch.

    Args:
        file: of ``efficientps-d2 export --format onnx``.
        threshold: of the scores of instances; by default that of the file.

    Raises:
        InputError: if it cannot be read.
    """
    categories = load(file, threads=1).categories
    files = {MODEL: file.read_bytes()}
    about = {"name": str(file), "sha256": _digest(files), "--runtime": "onnx"}
    about["--confidence-threshold"] = threshold
    run = partial(load_onnx, threshold)
    return BatchModel(about, files, run, categories, IMAGE_SUFFIXES, uses_gpu=False)


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


class PyTorchModel:
    """A :class:`Predictor` as a worker takes it."""

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self.categories = categories_of(predictor.metadata)

    def read(self, file: Path) -> np.ndarray:
        """See :meth:`Predictor.read`."""
        return self.predictor.read(file)

    def predict(self, images: list[np.ndarray]) -> list[Prediction]:
        """In one batch."""
        return self.predictor(images, "RGB")


def _load_pytorch(
    precision: str, tile: int, overrides: list[str], threads: int, has_gpu: bool, folder: Path
) -> PyTorchModel:
    quiet_known_warnings()
    keep_freed_memory()
    torch.set_num_threads(threads)
    device = "cuda" if has_gpu else "cpu"
    cfg, metadata = read_saved_model(folder, overrides)
    augment = asks_to_augment(cfg, overrides)
    predictor = Predictor(cfg, metadata, device, tile=tile, precision=precision, augment=augment)
    return PyTorchModel(predictor)
