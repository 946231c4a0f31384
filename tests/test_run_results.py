"""Reading of what a run left."""

import json

import pytest
from reported_run import training_lines, write_lines, write_run

from efficientps_d2 import InputError
from efficientps_d2.run_results import read_run


@pytest.fixture
def run_folder(tmp_path, toy, tiny_config):
    return write_run(tiny_config(toy), tmp_path / "run")


def test_a_run(run_folder):
    run = read_run(run_folder)
    assert run.dataset == "toy" and run.names == ["road", "sky", "car", "person"]
    assert run.thing_ids == [2, 3] and len(run.pictures) == 3
    assert [line["iteration"] for line in run.training] == [19, 39, 59]
    assert run.validation == [(60, run.results["panoptic_seg/PQ"])]
    assert [c["name"] for c in run.saved.categories] == run.names


def test_a_resumed_run_has_one_curve(run_folder):
    write_lines(run_folder, training_lines((39, 59, 79), loss=1.0))
    run = read_run(run_folder)
    assert [(line["iteration"], line["total_loss"]) for line in run.training] == [
        (19, 2.0),
        (39, 1.0),
        (59, 1.0),
        (79, 1.0),
    ]
    assert run.validation == [], "that of iteration 60 was of weights that were thrown away"


def test_the_last_evaluation_counts(run_folder):
    write_lines(run_folder, [{"iteration": 0, "panoptic_seg/PQ": 12.5}])
    run = read_run(run_folder)
    assert run.results["panoptic_seg/PQ"] == 12.5
    assert [i for i, _ in run.validation] == [60], "one by itself is no point of the curve"


def test_one_of_several_data_sets(run_folder):
    config = (run_folder / "config.yaml").read_text()
    (run_folder / "config.yaml").write_text(config.replace("TEST:\n  - toy", "TEST:\n  - a\n  - b"))
    line = {"iteration": 0, "a/panoptic_seg/PQ": 1.0, "b/panoptic_seg/PQ": 2.0}
    write_lines(run_folder, [{**line, "b_TTA/panoptic_seg/PQ": 3.0}])
    assert read_run(run_folder).results == {"panoptic_seg/PQ": 1.0}
    results = read_run(run_folder, "b").results
    assert results == {"panoptic_seg/PQ": 2.0, "panoptic_seg_TTA/PQ": 3.0}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.yaml").unlink(), "has no config.yaml; give the OUTPUT_DIR"),
        (lambda f: (f / "metrics.json").unlink(), "metrics.json does not exist"),
        (lambda f: (f / "metrics.json").write_text("{"), "metrics.json is damaged"),
        (lambda f: (f / "metrics.json").write_text(""), "no evaluation on toy; run train_net.py"),
        (
            lambda f: (f / "inference/toy_panoptic.json").unlink(),
            "toy_panoptic.json does not exist",
        ),
        (
            lambda f: (f / "inference/toy_images.jsonl").write_text(json.dumps({"matches": []})),
            "older version; evaluate again",
        ),
    ],
)
def test_what_is_missing_is_named(run_folder, break_it, message):
    break_it(run_folder)
    with pytest.raises(InputError, match=message):
        read_run(run_folder)
