"""What tests of commands share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of two good images and three bad ones."""
    folder = tmp_path / "pictures"
    (folder / "folder.png").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (("a.jpg", (70, 100)), ("b.webp", (40, 60))):
        Image.fromarray(rng.integers(0, 255, (*size, 3)).astype(np.uint8)).save(folder / name)
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:900])
    return folder
