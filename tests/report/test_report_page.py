"""The page about a run: what is on it, and what is said when something is missing."""

import dataclasses
import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project import run_verb
from reported_run import training_lines, without_results, write_lines, write_run
from scenes import write_dataset

import efficientps_d2.report.charts as report_charts
from efficientps_d2 import InputError
from efficientps_d2.evaluation.panoptic_metrics import Match
from efficientps_d2.evaluation.results import write_results
from efficientps_d2.report.charts import size_chart, training_chart
from efficientps_d2.report.page import (
    class_rows,
    evaluation_command,
    write_report,
)
from efficientps_d2.report.run import read_run


@pytest.fixture
def run_folder(tmp_path, register, tiny_config):
    data = write_dataset(tmp_path / "data", count=6, more_classes=["<i>odd & rare</i>"])
    cfg = tiny_config(register("toy", data), "TEST.SAVE_PANOPTIC", True)
    return write_run(cfg, tmp_path / "run")


def text_of(page: str) -> str:
    """What a reader sees, with single spaces."""
    page = re.sub(r"<(script|style)>.*?</\1>", " ", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_a_page_with_everything(run_folder):
    file = write_report(run_folder, images=1)
    page = file.read_text()
    results = read_run(run_folder).results
    text = text_of(page)
    assert f"PQ {results['panoptic_seg/PQ']:.1f}" in text
    assert f"PC {results['panoptic_seg/PC']:.1f}" in text
    assert f"car {results['panoptic_seg/PQ-car']:.1f}" in text
    for id_ in ("summary", "errors", "classes", "training", "confusion", "sizes", "images"):
        assert f'id="{id_}"' in page
    assert page.count('class="card"') == 3 and page.count("data:image/webp;base64,") == 12
    assert sorted(re.findall(r'data-group="(\w+)"', page)) == ["best", "random", "worst"]
    assert "&lt;i&gt;odd &amp; rare&lt;/i&gt;" in page and "<i>odd" not in page
    assert list(run_folder.glob("*.partial")) == []


def test_it_needs_no_network(run_folder):
    page = write_report(run_folder).read_text()
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']*|url\((?!#)|@import""", page)
    assert outside == []


def test_comparison_with_an_earlier_run(run_folder, tmp_path, tiny_config):
    cfg = tiny_config("toy", "SOLVER.BASE_LR", 0.5)
    earlier = write_run(cfg, tmp_path / "earlier", save=False, seed=3)
    page = write_report(run_folder, earlier).read_text()
    text = text_of(page)
    now, before = (read_run(f).results["panoptic_seg/PQ"] for f in (run_folder, earlier))
    assert now != before
    assert f"PQ {now:.1f} {before:.1f} {now - before:+.1f}" in text
    assert "SOLVER.BASE_LR 0.004 0.5" in text
    with pytest.raises(InputError, match="run itself; give another"):
        write_report(run_folder, run_folder)
    with pytest.raises(InputError, match="The earlier run: .*none does not exist"):
        write_report(run_folder, tmp_path / "none")
    assert "OUTPUT_DIR" not in text and "<u style" in page and "total_loss, earlier run" in text


def test_augmented_results_have_a_column(run_folder):
    write_results(run_folder / "inference_TTA", "toy", {"panoptic_seg": {"PQ": 98.7}})
    text = text_of(write_report(run_folder).read_text())
    assert f"PQ {read_run(run_folder).results['panoptic_seg/PQ']:.1f} 98.7" in text


def test_without_predictions_it_says_how_to_keep_them(tmp_path, toy, tiny_config):
    folder = write_run(tiny_config(toy, "MODEL.WEIGHTS", "w.pth"), tmp_path / "a run", save=False)
    page = html.unescape(write_report(folder).read_text())
    command = f"efficientps-d2 evaluate --config-file '{folder}/config.yaml'"
    options = f"OUTPUT_DIR '{folder}' TEST.SAVE_PANOPTIC True TEST.STOCK_PANOPTIC_EVALUATOR False"
    assert f"{command} MODEL.WEIGHTS w.pth {options}" in page and 'class="card"' not in page
    assert 'id="sizes"' in page and 'id="classes"' in page
    (folder / "last_checkpoint").write_text("model_final.pth")
    page = html.unescape(write_report(folder).read_text())
    assert f"{command} --resume {options}" in page and "DATASETS.TEST" not in page


def test_the_command_names_weights_and_data(run_folder):
    run = read_run(run_folder)
    assert "MODEL.WEIGHTS FILE" in evaluation_command(run)
    (run_folder / "model_final.pth").touch()
    assert f"MODEL.WEIGHTS {run_folder}/model_final.pth" in evaluation_command(run)
    run.cfg.DATASETS.TEST = ("other", "toy")
    command = shlex.split(evaluation_command(run))
    assert command[command.index("DATASETS.TEST") + 1] == "('toy',)"


def test_images_without_segments(tmp_path, toy, tiny_config):
    folder = write_run(tiny_config(toy), tmp_path / "run")
    file = folder / "inference" / "toy_images.jsonl"
    lines = [json.loads(line) | {"matches": []} for line in file.read_text().splitlines()]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert "No image has a segment." in write_report(folder).read_text()


def test_with_detectron2s_evaluator_it_has_what_there_is(run_folder):
    without_results(run_folder / "inference", "toy")
    metrics = {"panoptic_seg": {"PQ": 50.0, "PQ_th": float("nan")}}
    write_results(run_folder / "inference", "toy", metrics)
    (run_folder / "metrics.json").unlink()
    page = write_report(run_folder).read_text()
    assert "PQ 50.0 PQ things –" in text_of(page)
    assert 'id="classes"' not in page and 'id="training"' not in page


def test_rows_of_classes(run_folder, tmp_path, tiny_config):
    run = read_run(run_folder)
    matches = [Match("tp", 0, 9, 0.9, 1, 1)] * 3 + [Match("fn", 0, 9, 0, 2, 0)] * 2
    matches += [Match("fp", 2, 9, 0, 0, 3)]
    run.results |= {"panoptic_seg/PQ-road": 40.0, "panoptic_seg/SQ-road": 50.0}
    run.results["panoptic_seg/PQ-sky"] = float("nan")
    earlier = dataclasses.replace(run, results={"panoptic_seg/PQ-road": 30.0})
    rows = {row["name"]: row for row in class_rows(run, earlier, matches)}
    assert list(rows) == ["road", "car", "person"], "sky and the odd class have no segments"
    road, car = rows["road"], rows["car"]
    assert (road["PQ"], road["SQ"], road["before"]) == (40.0, 50.0, 30.0)
    assert [road[kind] for kind in ("tp", "fn", "fp")] == [3, 2, 0]
    assert [car[kind] for kind in ("tp", "fn", "fp")] == [0, 0, 1]
    assert (road["kind"], car["kind"]) == ("stuff", "thing")


def test_sizes_of_objects():
    things = [
        Match("tp", 1, 20, 0.8, 1, 1),
        Match("fn", 1, 63, 0, 2, 0),
        Match("fp", 1, 64, 0, 0, 3),
    ]
    stuff = Match("tp", 0, 5000, 1.0, 4, 4)
    text = text_of(size_chart([*things, stuff], [1]))
    assert "4² to 8²" in text and "8² to 16²" in text and "16²" not in text.replace("to 16²", "")
    assert "53" in text and "n = 2" in text and "n = 1" in text  # 0.8 / 1.5
    assert size_chart([stuff], [1]) == ""


def test_a_short_run_has_a_curve_that_can_be_seen(run_folder):
    run = read_run(run_folder)
    one = dataclasses.replace(run, training=run.training[:1], validation=[])
    assert "<use" in training_chart(one), "markers"


def test_curves(run_folder, monkeypatch):
    run = read_run(run_folder)
    lines = [line | {"lr": 0.1 * i} for i, line in enumerate(run.training)]
    run = dataclasses.replace(run, training=lines)
    earlier = dataclasses.replace(run, training=training_lines((5, 10), loss=7.0))
    figures = []
    monkeypatch.setattr(report_charts, "_svg", lambda figure: figures.append(figure) or "")
    training_chart(run, earlier)
    losses, rate = figures[0].axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert curves["total_loss"] == [[19, 2.0], [39, 2.0], [59, 2.0]]
    assert curves["loss_mask"] == [[19, 0.5], [39, 0.5], [59, 0.5]]
    assert curves["total_loss, earlier run"] == [[5, 7.0], [10, 7.0]]
    assert rate.lines[0].get_ydata().tolist() == pytest.approx([0, 0.1, 0.2])
    points = [(20, 10.0, 3.0), (40, 44.0, 2.0), (60, 43.0, 2.5)]
    names = ("iteration", "panoptic_seg/PQ", "total_loss")
    validation = [dict(zip(names, point, strict=True)) for point in points]
    training_chart(dataclasses.replace(run, validation=validation))
    losses, _, quality = figures[1].axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert curves["total_loss, validation"] == [[20, 3], [40, 2], [60, 2.5]]
    curve, best = (line.get_xydata().tolist() for line in quality.lines)
    assert curve == [[20, 10], [40, 44], [60, 43]] and best == [[40, 44]]
    assert quality.texts[0].get_text() == "44.0"


def test_what_went_wrong_is_at_the_top(run_folder):
    lines = [line | {"loss_mask": 0.7} for line in training_lines(range(100, 400, 20))]
    write_lines(run_folder, lines)
    page = write_report(run_folder).read_text()
    assert 0 < page.index("loss_mask did not fall") < page.index("Summary</h2>")


def write_map(file: Path, size: tuple[int, int]) -> None:
    Image.fromarray(np.full((*size, 3), 77, np.uint8)).save(file)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda run, data: (data / "images/sub/picture.0.jpg").unlink(), "picture.0.jpg cannot"),
        (lambda run, data: (data / "panoptic/truth_1.png").write_bytes(b""), "truth_1.png cannot"),
        (
            lambda run, data: write_map(run / "inference/toy_panoptic/picture.0.png", (96, 160)),
            "picture.0.png or its ground truth has changed since the evaluation .* evaluate again",
        ),
        (
            lambda run, data: write_map(run / "inference/toy_panoptic/picture.0.png", (9, 11)),
            "picture.0.png has another size than in the evaluation; evaluate again",
        ),
        (
            lambda run, data: (run / "inference/toy_panoptic/picture.0.png").unlink(),
            "toy_panoptic/picture.0.png cannot be read .* evaluate again",
        ),
    ],
)
def test_a_lost_file_is_one_sentence(run_folder, tmp_path, capsys, break_it, message):
    break_it(run_folder, tmp_path / "data")
    assert run_verb("report", run_folder, "--processes", 1) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(f"^Error: .*{message}", error)
    assert not list(run_folder.glob("report.*"))


def test_the_tool(run_folder, capsys):
    assert run_verb("report", run_folder, "--pictures", 1, "--processes", 2) == 0
    assert f"Wrote {run_folder / 'report.html'}" in capsys.readouterr().out
    assert run_verb("report", run_folder / "nothing") == 1
    assert "does not exist; give the OUTPUT_DIR" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run_verb("report", run_folder, "--pictures", 0)


def test_a_folder_that_cannot_be_written_to(run_folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(InputError, match="report.html cannot be written .Permission denied"):
        write_report(run_folder)
