"""Which images a training draws."""

from collections import Counter
from itertools import islice

import pytest
from detectron2.data import DatasetCatalog
from scenes import write_dataset

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.loaders import build_train_loader


@pytest.fixture
def unbalanced(tmp_path, register) -> str:
    """Eight images, of which one alone has its stuff class."""
    name = register("unbalanced", write_dataset(tmp_path / "unbalanced", count=8))
    records = DatasetCatalog.get(name)
    for record in records[1:]:
        segments = record["segments_info"]
        record["segments_info"] = [s for s in segments if s["category_id"] != 0]
    DatasetCatalog.remove(name)
    DatasetCatalog.register(name, lambda: records)
    return name


def draws(cfg) -> Counter:
    """Of image ids in 200 batches."""
    loader = build_train_loader(with_class_counts(cfg))
    return Counter(record["image_id"] for batch in islice(loader, 200) for record in batch)


def test_images_of_rare_classes_are_drawn_more_often(unbalanced, tiny_config, monkeypatch):
    # What the images show does not matter here.
    mapper = "efficientps_d2.data.loaders.PanopticDatasetMapper.__call__"
    monkeypatch.setattr(mapper, lambda self, record: {**record, "height": 1, "width": 1})
    plain = draws(tiny_config(unbalanced))
    assert plain["i0"] / plain.total() == pytest.approx(1 / 8, abs=0.04)
    sampler = ("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler")
    counts = draws(tiny_config(unbalanced, *sampler, "DATALOADER.REPEAT_THRESHOLD", 0.5))
    # In an eighth of the images, half wanted: the root of 4 times as often.
    assert counts["i0"] / counts["i1"] == pytest.approx(2, abs=0.4)
    assert counts["i2"] / counts["i1"] == pytest.approx(1, abs=0.3)
