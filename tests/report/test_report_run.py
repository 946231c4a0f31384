"""Reading of what a run left."""

import math
import re
import shutil

import pytest
from reported_run import training_lines, without_results, write_lines, write_run

from efficientps_d2 import InputError
from efficientps_d2.evaluation.results import write_results
from efficientps_d2.report.page import make_page, summary_rows
from efficientps_d2.report.run import matches_of, read_run


@pytest.fixture
def run_folder(tmp_path, toy, tiny_config):
    return write_run(tiny_config(toy), tmp_path / "run")


def curve(run) -> list[tuple[int, float]]:
    return [(line["iteration"], line["panoptic_seg/PQ"]) for line in run.validation]


def test_a_run(run_folder):
    run = read_run(run_folder)
    assert run.dataset == "toy" and run.names == ["road", "sky", "car", "person"]
    assert run.thing_ids == [2, 3] and len(run.images) == 3
    assert [line["iteration"] for line in run.training] == [19, 39, 59]
    assert curve(run) == [(60, run.results["panoptic_seg/PQ"])]
    assert [c["name"] for c in run.saved.categories] == run.names
    assert run.results_tta == {}


def test_a_resumed_run_has_one_curve(run_folder):
    write_lines(run_folder, training_lines((39, 59, 79), loss=1.0))
    run = read_run(run_folder)
    assert [(line["iteration"], line["total_loss"]) for line in run.training] == [
        (19, 2.0),
        (39, 1.0),
        (59, 1.0),
        (79, 1.0),
    ]
    assert run.validation == [], "that of weights that were thrown away"


def test_an_evaluation_alone_is_no_point_of_the_curve(run_folder):
    write_lines(run_folder, [{"iteration": 0, "panoptic_seg/PQ": 12.5}])
    assert [i for i, _ in curve(read_run(run_folder))] == [60]


def test_several_data_sets(run_folder, toy):
    """In metrics.json of such a training, their names are before the metrics."""
    config = (run_folder / "config.yaml").read_text()
    (run_folder / "config.yaml").write_text(config.replace("TEST:\n  - toy", "TEST:\n  - b\n  - a"))
    inference = run_folder / "inference"
    for name in "ab":
        shutil.copy(inference / "toy_metrics.json", inference / f"{name}_metrics.json")
    write_lines(run_folder, [{"iteration": 80, "b/panoptic_seg/PQ": 2.0, "a/panoptic_seg/PQ": 1.0}])
    assert read_run(run_folder).dataset == "b" and read_run(run_folder, "toy").dataset == "toy"
    assert curve(read_run(run_folder)) == [(80, 2.0)]
    assert read_run(run_folder, "toy").validation == [], "the training was not evaluated on it"


def test_results_with_augmentation(run_folder, toy):
    write_results(run_folder / "inference_TTA", toy, {"panoptic_seg": {"PQ": 98.5}})
    assert read_run(run_folder).results_tta == {"panoptic_seg/PQ": 98.5}


def test_an_evaluation_that_did_not_end_leaves_no_results(run_folder, toy):
    without_results(run_folder / "inference", toy)
    with pytest.raises(InputError, match="no results of an evaluation"):
        read_run(run_folder)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "config.yaml").unlink(), "has no config.yaml; give the OUTPUT_DIR"),
        (lambda f: shutil.rmtree(f), "run does not exist; give the OUTPUT_DIR"),
        (
            lambda f: (f / "metrics.json").write_text("{}\n{}\n{"),
            "metrics.json is damaged in line 3 .* remove that line",
        ),
        (lambda f: (f / "inference/toy_panoptic.json").unlink(), "panoptic.json does not exist"),
        (
            lambda f: (f / "inference/toy_metrics.json").write_text(
                '{"classes": [], "thing_ids": [], "results": {"bbox/AP": 1.0}}'
            ),
            "it has no panoptic_seg/PQ; evaluate again",
        ),
    ],
)
def test_what_is_missing_is_named(run_folder, break_it, message):
    break_it(run_folder)
    with pytest.raises(InputError, match=message):
        read_run(run_folder)


def test_another_data_set_is_refused(run_folder):
    with pytest.raises(InputError, match="was not evaluated on other_val; it was on toy"):
        read_run(run_folder, "other_val")


def test_losses_on_validation_images(run_folder):
    """And the PQ of the last weights, where the results are those of the best."""
    names = {"total_loss": 1.5, "norm_shift": 0.1, "panoptic_seg/PQ": 7.0}
    line = {"iteration": 70, "panoptic_seg/PQ": 9.0}
    write_lines(run_folder, [line | {f"validation/{k}": v for k, v in names.items()}])
    assert read_run(run_folder).validation[-1] == {"iteration": 70, **names}
    # After an early stop there are the results of the best weights alone.
    write_lines(run_folder, [{"iteration": 80, "panoptic_seg/PQ": 9.0}])
    run = read_run(run_folder)
    assert run.validation[-1]["iteration"] == 70 and run.validation_losses == [(70, 1.5)]


def test_stuff_is_not_asked_of_a_network_that_predicts_things_only(run_folder):
    file = run_folder / "config.yaml"
    config = file.read_text()
    before = read_run(run_folder)
    head = before.cfg.MODEL.SEM_SEG_HEAD.NAME
    config = config.replace(f"NAME: {head}", "NAME: NoSemSegHead")
    file.write_text(config.replace("ARCHITECTURE: EfficientPS", "ARCHITECTURE: MaskRCNN"))
    run = read_run(run_folder)
    for metric in ("PQ", "PQ_st", "PQ-road", "PC_st"):
        assert math.isnan(run.results[f"panoptic_seg/{metric}"])
    for metric in ("panoptic_seg/PQ_th", "panoptic_seg/PQ-car"):
        assert run.results[metric] == before.results[metric]
    assert curve(run) == [(60, before.results["panoptic_seg/PQ_th"])]
    values = {"validation/panoptic_seg/PQ": 10.0, "validation/panoptic_seg/PQ_th": 20.0}
    write_lines(run_folder, [{"iteration": 80, **values, "validation/total_loss": 3.0}])
    run = read_run(run_folder)
    assert curve(run) == [(80, 20.0)] and run.validation_losses == [(80, 3.0)]
    assert {m.class_id for image in run.images for m in matches_of(image)} == {2, 3}
    page = make_page(run, None, images=1, processes=1)
    rows = {row["label"] for row in summary_rows(run, None)}
    assert rows == {"PQ things", "SQ things", "RQ things", "PC things"}
    assert "predicts things only" in page and "No segment, neither" not in page
    assert not any("road" in row.split("</td>")[0] for row in page.split("<tr><td>")[1:])
    (missed,) = re.findall(r"missed</td><td>([0-9.]+)", page)
    assert float(missed) < 60, "stuff is not missed"
