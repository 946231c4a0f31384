"""Scores of a batch are those of the same predictions in one folder."""

import json
import re

import numpy as np
import pytest
from batch_stub import CATEGORIES, StubModel, begin_batch, write_images, write_plain
from project import run_verb

from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.coco import PanopticWriter


@pytest.fixture
def files(tmp_path):
    """Ground truth that differs a little, predictions in one folder, and the same as a batch."""
    write_images(tmp_path / "photos", 7)
    model = StubModel()
    with (
        PanopticWriter(tmp_path / "gt", CATEGORIES) as truth,
        PanopticWriter(tmp_path / "alone", CATEGORIES) as alone,
    ):
        for file in sorted((tmp_path / "photos").iterdir()):
            image = model.read(file)
            alone.add(file, *model.predict([image]))
            truth.add(file, *model.predict([np.roll(image, 1, axis=1)]))
    worker = begin_batch(str(tmp_path / "photos"), str(tmp_path / "out"), 3)
    for shard in range(3):
        worker.predict_shard(shard)
    return tmp_path


def score(files, *more) -> int:
    gt = ("--gt", files / "gt" / "panoptic.json", "--gt-dir", files / "gt" / "panoptic")
    return run_verb("score", *gt, *more)


@pytest.mark.parametrize("processes", [1, 2])
def test_scores_are_those_of_one_folder(files, processes):
    alone = ("--pred", files / "alone/panoptic.json", "--pred-dir", files / "alone/panoptic")
    assert score(files, *alone, "--output", files / "alone.json", "--processes", 1) == 0
    batch = ("--pred", files / "out", "--processes", processes)
    assert score(files, *batch, "--output", files / "batch.json") == 0
    found, expected = (json.loads((files / f).read_text()) for f in ("batch.json", "alone.json"))
    assert found == expected and 0 < found["PQ"] < 100


def test_ids_may_be_numbers_in_the_ground_truth(files):
    json_file = files / "gt" / "panoptic.json"
    content = json.loads(json_file.read_text())
    for image in content["images"]:
        image["id"] = int(image["id"])
    for annotation in content["annotations"]:
        annotation["image_id"] = int(annotation["image_id"])
    json_file.write_text(json.dumps(content))
    assert score(files, "--pred", files / "out") == 0


def change_truth(files, change) -> None:
    json_file = files / "gt" / "panoptic.json"
    content = json.loads(json_file.read_text())
    change(content)
    json_file.write_text(json.dumps(content))


def test_ids_may_be_others_if_pngs_have_the_same_names(files, capsys):
    assert score(files, "--pred", files / "out") == 0
    table = capsys.readouterr().out

    def number(content):
        ids = {image["id"]: i for i, image in enumerate(content["images"], 100)}
        for image, annotation in zip(content["images"], content["annotations"], strict=True):
            image["id"], annotation["image_id"] = ids[image["id"]], ids[annotation["image_id"]]

    change_truth(files, number)
    assert score(files, "--pred", files / "out") == 0
    assert capsys.readouterr().out == table


def test_a_batch_may_have_more_images_than_the_ground_truth(files, capsys):
    def shorten(content):
        content["images"], content["annotations"] = (
            content[name][:5] for name in ("images", "annotations")
        )

    def rename(content):
        for annotation in content["annotations"]:
            annotation["image_id"] = annotation["file_name"] = f"x{annotation['image_id']}"

    change_truth(files, shorten)
    assert score(files, "--pred", files / "out") == 0
    assert "Scored images: 5; 2 without ground truth are left out." in capsys.readouterr().out
    change_truth(files, rename)
    assert score(files, "--pred", files / "out") == 1
    said = capsys.readouterr().err
    assert re.search(r"out: has no image of .*json .PNGs such as x0000 and 0000.png.", said)
    assert said.endswith("as listed above; correct them.\n")


def test_what_does_not_fit_is_listed(files, capsys):
    Output(str(files / "out")).forget(1)
    assert score(files, "--pred", files / "out") == 1
    assert re.search(r"out: has no image '0003', '0004', '0005' of .*gt", capsys.readouterr().err)
    assert score(files, "--pred", files / "out", "--only-predicted") == 0
    assert "Scored images: 4." in capsys.readouterr().out
    write_plain(files / "out/shards/000002/panoptic/0006.png", 9)
    assert score(files, "--pred", files / "out", "--only-predicted") == 1
    assert "0006.png: " in capsys.readouterr().err


def test_mistakes(files, capsys):
    with pytest.raises(SystemExit):
        score(files, "--pred", files / "out", "--pred-dir", files / "alone")
    assert "has its own PNGs; leave --pred-dir out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        score(files, "--pred", files / "alone" / "panoptic.json")
    assert "needs --pred-dir" in capsys.readouterr().err
    assert score(files, "--pred", files / "alone") == 1
    assert "alone holds panoptic.json, which is of something else" in capsys.readouterr().err
    (files / "empty").mkdir()
    assert score(files, "--pred", files / "empty") == 1
    assert "empty holds no batch; give the --output of predict-batch" in capsys.readouterr().err
