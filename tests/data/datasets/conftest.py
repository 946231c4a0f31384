"""Datasets in their publishers' layouts, prepared as a user does."""

import pytest
from project import call_verb
from published import WRITERS, write_kitti
from scenes import unregister

from efficientps_d2.data.datasets.names import open_published


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A function that prepares a dataset as a user does; returns its name and folder."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    names = []

    def prepared(title):
        name = title.partition(",")[0]
        source = WRITERS[title](tmp_path / "source")
        call_verb("prepare", name, source, "--processes", 1)
        names.extend(f"{name}_{split}" for split in open_published(name, source).splits)
        return name, tmp_path / "datasets" / name

    yield prepared
    for name in names:
        unregister(name)


@pytest.fixture
def kitti(tmp_path):
    """Source and destination of a preparation by hand."""
    return write_kitti(tmp_path / "source"), tmp_path / "mine"
