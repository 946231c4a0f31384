"""Offline scoring: panopticapi's numbers, and every misfit of files named."""

import json
import re

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from panopticapi.evaluation import pq_compute
from PIL import Image
from predictions import feed, imperfect_outputs
from project import run_verb
from scenes import write_dataset

from efficientps_d2.evaluation.panoptic_evaluation import PanopticEvaluator


@pytest.fixture
def files(tmp_path, register):
    """Ground truth, its PNGs, predictions, their PNGs: as the arguments of the tool."""
    data = write_dataset(tmp_path / "data")
    name = register("files", data)
    evaluator = PanopticEvaluator(name, str(tmp_path / "out"), save_predictions=True)
    records = DatasetCatalog.get(name)
    feed(evaluator, records, imperfect_outputs(records, 4))
    evaluator.evaluate()
    predicted = tmp_path / "out" / "files_panoptic"
    return data / "panoptic.json", data / "panoptic", predicted.with_suffix(".json"), predicted


def run(files, *more):
    flags = ("--gt", "--gt-dir", "--pred", "--pred-dir")
    arguments = [x for pair in zip(flags, files, strict=True) for x in pair]
    return run_verb("score", *arguments, *more)


@pytest.mark.parametrize("processes", [1, 2])
def test_scores_are_those_of_panopticapi(files, tmp_path, capsys, processes):
    scores = tmp_path / "scores.json"
    assert run(files, "--processes", processes, "--output", scores) == 0
    out = capsys.readouterr().out
    gt, gt_dir, predicted, predicted_dir = files
    expected = pq_compute(gt, predicted, gt_dir, predicted_dir)
    written = json.loads(scores.read_text())
    for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st")):
        (row,) = re.findall(rf"^\| {group} .*$", out, re.MULTILINE)
        for metric in ("PQ", "SQ", "RQ"):
            value = 100 * expected[group][metric.lower()]
            assert written[metric + suffix] == pytest.approx(value)
            assert f"{value:.2f}" in row
    assert "PC-car" in written and "| person " in out
    assert "Scored images: 3." in out


def test_scores_are_valid_json(files, tmp_path):
    """Which has no NaN, as the PQ of a class without segments is."""
    category = {"id": 99, "name": "unicorn", "isthing": 1}
    edit(files[0], lambda c: c["categories"].append(category))
    assert run(files, "--output", tmp_path / "scores.json", "--processes", 1) == 0

    def refuse(constant):
        raise AssertionError(constant)

    scores = json.loads((tmp_path / "scores.json").read_text(), parse_constant=refuse)
    assert scores["PQ-unicorn"] is None and scores["PQ-car"] > 0


def test_an_output_that_cannot_be_written_is_told_before_scoring(files, tmp_path, capsys):
    assert run(files, "--output", tmp_path / "none" / "scores.json") == 1
    captured = capsys.readouterr()
    assert "scores.json cannot be written" in captured.err and not captured.out


def test_only_images_with_a_prediction(files, tmp_path, capsys):
    """The others count nothing, as if they were not in the ground truth."""
    edit(files[2], lambda c: c["annotations"].pop(1))
    assert run(files, "--processes", 1) == 1
    assert "or add --only-predicted" in capsys.readouterr().err
    scores = tmp_path / "scores.json"
    assert run(files, "--only-predicted", "--output", scores, "--processes", 1) == 0
    assert "Scored images: 2." in capsys.readouterr().out
    for key in ("images", "annotations"):
        edit(files[0], lambda c, key=key: c[key].pop(1))
    gt, gt_dir, predicted, predicted_dir = files
    expected = pq_compute(gt, predicted, gt_dir, predicted_dir)["All"]["pq"]
    assert json.loads(scores.read_text())["PQ"] == pytest.approx(100 * expected)
    edit(files[2], lambda c: c["annotations"].clear())
    assert run(files, "--only-predicted") == 1
    assert "has no image of" in capsys.readouterr().err


def test_missing_predictions_are_said_before_anything_is_scored(files, capsys):
    edit(files[2], lambda c: c["annotations"].pop(0))
    halve(files)  # which only scoring shows
    assert run(files, "--processes", 1) == 1
    error = capsys.readouterr().err
    assert "has no image" in error and "pixels" not in error


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def edit_predictions(change):
    return lambda files: edit(files[2], lambda c: change(c["annotations"]))


def halve(files):
    png = files[3] / "picture.1.png"
    image = Image.open(png)
    image.resize((image.width // 2, image.height), 0).save(png)


def paint(files):
    png = files[3] / "picture.1.png"
    pixels = np.array(Image.open(png))
    pixels[0, 0] = (9, 9, 9)
    Image.fromarray(pixels).save(png)


MISFITS = {
    "missing image": (
        edit_predictions(lambda a: a.pop(0)),
        "files_panoptic.json: has no image 'i0'",
    ),
    "missing images": (
        edit_predictions(lambda a: a.__delitem__(slice(2))),
        "files_panoptic.json: has no image 'i0', 'i1' of ",
    ),
    "image of another set": (
        edit_predictions(lambda a: a[0].update(image_id="x9")),
        "data/panoptic.json: has no image 'x9'",
    ),
    "image twice": (edit_predictions(lambda a: a.append(a[0])), "image 'i0' is there twice"),
    "unknown category": (
        edit_predictions(lambda a: a[1]["segments_info"][0].update(category_id=999)),
        "picture.1.png: has a segment of the unknown category 999",
    ),
    "id only in the PNG": (paint, "picture.1.png: the prediction has the segments [592137] only"),
    "id only in the JSON": (
        edit_predictions(lambda a: a[1]["segments_info"].append({"id": 77, "category_id": 7})),
        "picture.1.png: the prediction has the segments [77] only",
    ),
    "other size": (halve, "picture.1.png: is 80 x 96 pixels, but"),
    "missing PNG": (lambda f: (f[3] / "picture.2.png").unlink(), "picture.2.png: cannot be read"),
    "truncated PNG": (
        lambda f: (f[3] / "picture.2.png").write_bytes(b"\x89PNG"),
        "picture.2.png: cannot be read",
    ),
    "wrong area in the ground truth": (
        lambda f: edit(f[0], lambda c: c["annotations"][0]["segments_info"][0].update(area=1)),
        "truth_0.png: the ground truth has a segment",
    ),
    "no image": (
        lambda f: [edit(file, lambda c: c["annotations"].clear()) for file in (f[0], f[2])],
        "files_panoptic.json: has no image of",
    ),
    "category id twice": (
        lambda f: edit(f[0], lambda c: c["categories"].append(c["categories"][0])),
        "panoptic.json lists a category id twice",
    ),
    "no JSON": (lambda f: f[2].write_text("{"), "files_panoptic.json is not valid JSON"),
    "no annotations": (lambda f: f[2].write_text("{}"), 'has no list "annotations"'),
    "segment without id": (
        edit_predictions(lambda a: a[0]["segments_info"][0].pop("id")),
        'has no "id"',
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_misfits_are_named_and_nothing_is_scored(files, capsys, misfit):
    damage, message = MISFITS[misfit]
    damage(files)
    assert run(files, "--processes", 1) == 1
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err and not captured.out
    assert captured.err.splitlines()[-1].startswith("Error: ")
