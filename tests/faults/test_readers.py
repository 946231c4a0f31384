"""Damaged files of others: each reader gives a result or one sentence, never a traceback.

`make test-faults` tries each for minutes, with other damage each time; `make test` for a moment.
"""

import contextlib
import io
import json
import os
import pickle
import random
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from damaged_sources import MAKE
from fault_cases import RUN
from scenes import register_dataset, unregister, write_dataset
from torch import nn

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.checkpoint.weights_file import read_weights, write_weights
from efficientps_d2.config.loading import load_config
from efficientps_d2.data.checks.dataset import check_dataset
from efficientps_d2.data.checks.listing import find_dataset, read_listing
from efficientps_d2.data.importers import READERS
from efficientps_d2.data.importers.painting import Classes
from efficientps_d2.data.importers.run import import_annotations
from efficientps_d2_runtime.images import read_rgb

SECONDS = float(os.environ.get("FAULT_SECONDS", "0"))
SHORT = 25  # tries in `make test`
ODD = [None, True, -1, 0, 1.5, 1e308, 10**30, "", "x" * 300, "\0", "../../x", "/etc/passwd"]
ODD += [[], {}, [[]], [None], "NaN", "é\udcff", {"id": 1}]


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """A few bytes flipped, removed, doubled, or the end cut off."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        i = rng.randrange(len(data) + 1)
        j = min(len(data), i + rng.choice([1, 4, 50]))
        kind = rng.randrange(5)
        if kind == 0 and i < len(data):
            data[i] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[i:j]
        elif kind == 2:
            data[i:i] = data[i:j]
        elif kind == 3:
            data[i:j] = rng.randbytes(j - i)
        elif kind == 4 and rng.random() < 0.3:
            del data[i:]
    return bytes(data)


def damaged_json(content: bytes, rng: random.Random) -> bytes:
    """One value anywhere replaced by an odd one, or removed."""
    root = json.loads(content)
    places = []

    def collect(node) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, (dict, list)):
                collect(value)

    collect(root)
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice(ODD)
    return json.dumps(root).encode()


def damage(file: Path, rng: random.Random) -> None:
    content = file.read_bytes()
    structured = file.suffix == ".json" and rng.random() < 0.7
    file.write_bytes((damaged_json if structured else damaged_bytes)(content, rng))


def read_dataset(folder: Path) -> None:
    try:
        register_dataset("fuzzed", folder)
        check_dataset(read_listing(find_dataset("fuzzed")))
    finally:
        with contextlib.suppress(KeyError):
            unregister("fuzzed")


def check_folder(folder: Path) -> bool:
    """Whether something was found."""
    return bool(check_dataset(read_listing(find_dataset(str(folder)))).problems)


def read_images(folder: Path) -> None:
    for file in (folder / "images").rglob("picture*"):
        read_rgb(file)


def importing(tool: str) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        dest = folder.parent / "imported"
        classes = Classes(["car"], ["road", "sky"])
        import_annotations(READERS[tool], folder, dest, classes, split=1, overwrite=True)

    return read


def make_dataset(folder: Path) -> None:
    write_dataset(folder, count=2)


def make_weights(folder: Path) -> None:
    folder.mkdir()
    torch.save({"model": nn.Linear(3, 2).state_dict()}, folder / "weights.pth")


def make_safetensors(folder: Path) -> None:
    folder.mkdir()
    write_weights(folder / "weights.safetensors", nn.Linear(3, 2).state_dict())


def make_zoo(folder: Path) -> None:
    folder.mkdir()
    arrays = {"a": np.ones((3, 2), np.float32), "b": np.float32(1)}
    (folder / "weights.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}))


def make_run(folder: Path) -> None:
    shutil.copytree(RUN, folder)


# What makes the files, which of them are damaged, and what reads them.
FORMATS = {
    "panoptic JSON": (make_dataset, "panoptic.json", read_dataset),
    "panoptic JSON, checked": (make_dataset, "panoptic.json", check_folder),
    "panoptic PNG": (make_dataset, "panoptic/*.png", check_folder),
    "image": (make_dataset, "images/sub/*", read_images),
    **{tool: (MAKE[tool], "**/*.*", importing(tool)) for tool in MAKE},
    "config": (make_run, "config.yaml", lambda f: load_config(str(f / "config.yaml"))),
    "saved model": (make_run, "model/*.[jy]*", lambda f: read_saved_model(f / "model")),
    "checkpoint": (make_weights, "*.pth", lambda f: read_weights(f / "weights.pth")),
    "safetensors": (
        make_safetensors,
        "*.safetensors",
        lambda f: read_weights(f / "weights.safetensors"),
    ),
    "checkpoint of a zoo": (make_zoo, "*.pkl", lambda f: read_weights(f / "weights.pkl")),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_named(name, tmp_path):
    make, pattern, read = FORMATS[name]
    make(tmp_path / "whole")
    seed = random.randrange(10**9) if SECONDS else 0
    rng, end = random.Random(seed), time.monotonic() + SECONDS
    tries = noticed = 0
    while tries < SHORT or time.monotonic() < end:
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "whole", folder)
        files = sorted(file for file in folder.glob(pattern) if file.is_file())
        damage(rng.choice(files), rng)
        tries += 1
        start = time.monotonic()
        try:
            with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
                noticed += read(folder) is True
        except InputError as error:
            noticed += 1
            assert len(str(error)) < 5000, f"seed {seed}, try {tries}"
        except Exception as error:
            kept = Path(os.environ.get("FAULT_KEEP", tmp_path)) / f"{name}-{seed}-{tries}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            raise AssertionError(f"seed {seed}, try {tries}: {error!r}; see {kept}") from error
        assert time.monotonic() - start < 30, f"seed {seed}, try {tries} took long"
    print(f"{name}: {tries} tries, {noticed} noticed")
    assert noticed
