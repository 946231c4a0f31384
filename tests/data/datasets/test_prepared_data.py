"""Published datasets, from their publishers' layouts to evaluation; painted, not downloaded."""

import re
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog
from one_step import NORMS, ONE_STEP, train_one_step
from predictions import evaluate_perfect_predictions
from project import ROOT, call_verb, run_verb
from published import WRITERS

from efficientps_d2.config.loading import load_config
from efficientps_d2.data.datasets.names import PUBLISHED, open_published, published_as
from efficientps_d2.engine.auto_values import fill_auto
from efficientps_d2_cli.prepare import NAMES

# Things, stuff, and images of each split.
EXPECTED = {
    "kitti": (8, 11, "8 train, 2 val"),
    "kitti, panoptic": (8, 11, "2 train, 2 val"),
    "vistas": (37, 28, "2 train, 2 val"),
    "vistas, second release": (37, 28, "2 train, 2 val"),
    "vistas_v2": (70, 46, "2 train, 2 val"),
    "idd": (9, 17, "2 train, 2 val"),
    "scannet": (18, 2, "1 train, 1 val"),
    "scannet_depth": (18, 2, "1 train, 1 val"),
    "pastis": (18, 1, "2 fold1, 2 fold2, 2 fold3, 2 fold4, 2 fold5"),
    "semantic_kitti": (8, 11, "10 train, 1 val"),
}


@pytest.mark.parametrize("title", WRITERS)
def test_prepared_data_train_and_a_perfect_prediction_gets_100(
    prepared, title, tiny_config, capsys
):
    name, folder = prepared(title)
    things, stuff, counts = EXPECTED[title]
    out = capsys.readouterr().out
    assert f": {counts}." in out
    config = f"efficientps_{name}"
    own = load_config(config).DATASETS
    test = own.TEST[0]
    folder = folder / test.removeprefix(f"{name}_")
    next_command = f"efficientps-d2 check {folder} --draw 8\n"
    assert next_command in out
    assert run_verb("check", folder) == 0
    assert f"{config}.yaml" in capsys.readouterr().out  # which it finds

    norms = [value for part in NORMS for value in (f"MODEL.{part}.NORM", "GN")]
    cfg = tiny_config(test, *ONE_STEP, *norms, "DATASETS.TRAIN", own.TRAIN, config=config)
    fill_auto(cfg)
    train_one_step(cfg)
    results = evaluate_perfect_predictions(cfg, test)
    assert results["panoptic_seg"]["PQ"] == results["sem_seg"]["mIoU"] == pytest.approx(100)
    assert results["segm"]["AP"] == pytest.approx(100)
    if name == "pastis":
        assert results["pastis"]["PQ"] == pytest.approx(100)
    if name == "semantic_kitti":  # means are over 19 classes, of which 12 occur
        assert 98 < results["points"]["mIoU"] * 19 / 12 < 100
        assert 95 < results["points"]["PQ"] * 19 / 12 < 100
    metadata = MetadataCatalog.get(test)
    assert len(metadata.thing_dataset_id_to_contiguous_id) == things
    assert len(metadata.stuff_classes) == things + stuff


def test_names_are_those_of_the_command_and_the_configs(tmp_path):
    assert tuple(PUBLISHED) == NAMES
    for title, write in WRITERS.items():
        source, name = write(tmp_path / title), title.partition(",")[0]
        assert published_as(source) == name.removesuffix("_depth")
        data, own = open_published(name, source), load_config(f"efficientps_{name}").DATASETS
        assert tuple(f"{name}_{split}" for split in data.train) == own.TRAIN
        assert tuple(f"{name}_{split}" for split in data.test) == own.TEST


def test_each_prepare_command_of_the_page_works(tmp_path, monkeypatch):
    """As it is written, on a small dataset at the place of the download."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    text = (ROOT / "docs" / "DATASETS.md").read_text()
    commands = re.findall(r"^efficientps-d2 (prepare (\w+) (\S+).*)$", text, re.MULTILINE)
    assert {name for _, name, _ in commands} == set(NAMES) - {"vistas_v2"}
    for command, name, source in commands:
        if "--train" not in command:
            write = WRITERS["vistas, second release" if name == "vistas" else name]
            write(tmp_path / source) if not Path(source).exists() else None
            call_verb(*command.split())
            assert list((tmp_path / "datasets" / name).glob("*/panoptic.json"))
