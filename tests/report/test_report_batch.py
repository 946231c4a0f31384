"""The page about a batch: what is on it, from tables that are read shard by shard."""

import re
import sys

import pytest
from batch_stub import CATEGORIES, StubModel, begin_batch, write_images, write_plain
from project import run_verb
from test_report_page import text_of

from efficientps_d2.report.batch_sums import sum_batch
from efficientps_d2_runtime.batch.output import Output


@pytest.fixture
def output(tmp_path) -> Output:
    write_images(tmp_path / "photos", 8)
    write_plain(tmp_path / "photos" / "0002.png", 253)
    write_plain(tmp_path / "photos" / "0005.png", 0)
    worker = begin_batch(str(tmp_path / "photos"), str(tmp_path / "out"), 3)
    for shard in range(3):
        worker.predict_shard(shard)
    return Output(str(tmp_path / "out"))


def test_sums_are_those_of_all_predictions(output, tmp_path):
    sums = sum_batch(output, output.manifest(), 3)
    model, areas = StubModel(), [0, 0]
    for number in (0, 1, 3, 4, 5, 6, 7):
        image = model.read(tmp_path / "photos" / f"{number:04d}.png")
        for segment in model.predict([image])[0].segments:
            areas[segment.category_id] += segment.area
    assert sums.areas.tolist() == areas
    assert sums.segments.tolist() == sums.with_class.tolist() == [7, 6]
    assert (sums.images, sums.failed, len(sums.errors)) == (8, 1, 1)
    assert sums.histogram.sum(axis=1).tolist() == [7, 6]
    assert [example.image_id for example in sums.lowest][0] == "0005"  # road alone has 0.6
    assert len({example.image_id for example in sums.random}) == 3


def test_a_page(output, tmp_path, capsys):
    assert run_verb("report", output, "--images", 2) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    text = text_of(page)
    assert "images 8 failed 1 segments 13" in text
    assert "road 100.0" in text and "car 85.7" in text
    assert "0002.png: This is too dark" in text and "not done yet" not in text
    cards = re.findall(
        r'<span class="tag">(\w+)</span><span class="faint name" title="([^"]+)"', page
    )
    assert ("lowest", str(tmp_path / "photos" / "0005.png")) in cards and 2 < len(cards) <= 4
    assert page.count("data:image/webp") == 2 * len(cards)
    assert "<svg" in page and CATEGORIES[1]["name"] in text


def test_a_batch_that_goes_on_and_images_that_are_gone(output, tmp_path):
    output.forget(2)
    for file in (tmp_path / "photos").iterdir():
        file.unlink()
    assert run_verb("report", output, "--output", tmp_path / "page.html") == 0
    assert "2 of 8 images are not done yet" in text_of((tmp_path / "page.html").read_text())


def test_mistakes(output, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_verb("report", output, "--earlier", tmp_path)
    assert "--earlier is for runs, and" in capsys.readouterr().err
    (tmp_path / "out" / "segments" / "000001.parquet").write_bytes(b"PAR1")
    assert run_verb("report", output) == 1
    assert "segments/000001.parquet is damaged; remove " in capsys.readouterr().err
    (tmp_path / "out" / "errors" / "000001.parquet").write_bytes(b"PAR1")
    assert run_verb("report", output) == 1
    assert "errors/000001.parquet is damaged; remove " in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb", [["report"], ["score", "--gt", "gt.json", "--gt-dir", "gt", "--pred"]]
)
def test_without_pyarrow(verb, tmp_path, capsys, monkeypatch):
    (tmp_path / "batch.json").touch()
    monkeypatch.delitem(sys.modules, "efficientps_d2_runtime.batch")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run_verb(*verb, str(tmp_path)) == 1
    assert "object storage need pyarrow; run: pip" in capsys.readouterr().err
