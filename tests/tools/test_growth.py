"""Curves of how an inference grows."""

import importlib

import pytest
from project import ROOT


@pytest.fixture
def growth(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
    return importlib.import_module("growth")


def test_one_thing_varies_at_a_time(growth):
    for name, point in growth.points().items():
        varied = name.split()[0]
        usual = {k: v for k, v in growth.USUAL.items() if k != varied}
        assert {k: v for k, v in point.items() if k != varied} == usual
    megapixels = [growth.x_of("size", size) for size in growth.SIZES]
    assert megapixels[0] < 0.26 and 15 < megapixels[-1] < 17


def test_measured_points_are_drawn_and_kept(growth, monkeypatch, tmp_path, capsys):
    measured = []

    def measure(point, rounds, threads):
        measured.append(point)
        whole = 10.0 * point["detections"]
        return {**dict.fromkeys(growth.PARTS, 1.0), "whole": whole, "memory": 2048.0}

    monkeypatch.setattr(growth, "measure", measure)
    assert growth.main(["--output", str(tmp_path)]) == 0
    assert len(measured) == len(growth.points()) and (tmp_path / "growth.png").is_file()
    assert "| detections 500 " in capsys.readouterr().out
    assert growth.main(["--output", str(tmp_path)]) == 0
    assert len(measured) == len(growth.points())
    with pytest.raises(SystemExit):  # figures of different settings are not mixed
        growth.main(["--output", str(tmp_path), "--rounds", "9"])
    assert "was measured with {'threads'" in capsys.readouterr().err
    axes = growth.curves({name: measure(p, 1, 1) for name, p in growth.points().items()}).axes
    (whole,) = [line for line in axes[1].lines if line.get_label() == "whole"]
    assert list(whole.get_xdata()) == growth.VARIED["detections"]
    assert list(whole.get_ydata())[-1] == 5.0


def test_classes_of_the_network(growth):
    cfg = growth.peers.of_this_project("efficientps_cityscapes", 150)
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 150
    assert list(range(142, 150)) == cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS
