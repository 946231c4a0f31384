"""The tool on wrong usage, unreadable JSON, interrupts and floods; its drawings."""

import shlex
import shutil
import zipfile

import numpy as np
import pytest
from checker import CASES, edit_ground_truth, edit_json, run
from PIL import Image
from project import CONFIGS, run_verb
from scenes import write_dataset

from efficientps_d2.config.loading import load_config

DAMAGED_JSON = {
    "a list": b"[]",
    "a number": b"7",
    "no JSON": b"{",
    "empty": b"",
    "not UTF-8": b'{"images": ["\xff\xfe"], "annotations": [], "categories": []}',
    "deep": b"[" * 100_000,
    "no categories": b'{"images": [], "annotations": []}',
    "null images": b'{"images": null, "annotations": [], "categories": []}',
}


@pytest.mark.parametrize("case", DAMAGED_JSON)
def test_damaged_json_is_one_sentence(tmp_path, capsys, case):
    folder = write_dataset(tmp_path / "data")
    (folder / "panoptic.json").write_bytes(DAMAGED_JSON[case])
    assert run(folder) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1 and "panoptic.json" in error


def test_wrong_usage_is_status_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    folder = write_dataset(tmp_path / "data")
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "panoptic.json", "panoptic.json")
    exists = "exists already"
    for arguments, message in (
        (["nothing_train"], 'There is no dataset "nothing_train"; make the folder'),
        (["streets_trian"], 'There is no dataset "streets_trian"; give streets_train.'),
        ([archive], "has no panoptic.json"),
        ([folder / "images"], "has no panoptic.json"),
        ([tmp_path], f"holds several splits; give one: {folder}"),
        (["coco_2017_train"], "has no panoptic annotations"),
        ([folder, "--config-file", "none.yaml"], "none.yaml"),
        ([folder, "--fix", folder], exists),
        ([folder, "--fix", archive], exists),
        ([folder, "--fix", folder / "fixed"], "lies in the dataset itself"),
        ([folder, "--fix", archive / "fixed"], "File exists"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("Error: ") and message in error
    wrong = (["--processes", "0"], ["--draw", "-1"], ["--fix", ""], ["--draw", "9" * 30])
    for arguments in (*wrong, ["--nonsense"], []):
        with pytest.raises(SystemExit) as stop:
            run_verb("check", *([folder, *arguments] if arguments else []))
        assert stop.value.code == 2


def test_an_interrupted_repair_leaves_nothing(tmp_path, capsys, monkeypatch):
    folder = write_dataset(tmp_path / "data")
    copy = shutil.copyfile

    def interrupted(source, target):
        if "truth_1" in str(target):
            raise KeyboardInterrupt
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    assert run(folder, "--fix", tmp_path / "fixed") == 130
    assert "Stopped" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_thousands_of_problems_do_not_flood(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")

    def many(content):
        segments = content["annotations"][0]["segments_info"]
        segments += [{"id": 1000 + i, "category_id": 26} for i in range(3000)]

    edit_json(folder, many)
    edit_ground_truth(folder, lambda p: np.copyto(p, np.arange(p.size).reshape(p.shape) + 10**6))
    assert run(folder) == 1
    out = capsys.readouterr().out
    assert "Error: empty segment: 300" in out and "more; --all prints them" in out
    assert "ids with 15360 pixels are not in the JSON: 1000000, 1000001" in out
    assert len(out.splitlines()) < 70
    run(folder, "--all")
    assert len(capsys.readouterr().out.splitlines()) > 3000


def test_strange_names_are_printed_harmlessly(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")
    edit_json(folder, lambda c: c["images"][0].update(file_name="a\n\x1b[2J\ud800\0.jpg"))
    assert run(folder) == 1
    out = capsys.readouterr().out
    assert r"a\n\x1b[2J\ud800\x00.jpg: does not exist" in out


def test_drawings(tmp_path, capsys, monkeypatch):
    """Also of images with problems; none of images that cannot be read."""
    monkeypatch.chdir(tmp_path)
    folder = write_dataset(tmp_path / "berries" / "train")
    for case in ("the same segment id", "unlisted id", "text as isthing"):
        CASES[case][0](folder)
    (folder / "images/sub/picture.1.png").unlink()
    run(folder, "--draw", 5)
    assert "Drew 2 of the images into output/check/berries_train" in capsys.readouterr().out
    drawn = sorted((tmp_path / "output/check/berries_train").iterdir())
    assert [path.name for path in drawn] == ["picture.0.png", "picture.2.png"]
    gt = np.asarray(Image.open(drawn[1]))[-150:]
    assert len(np.unique(gt.reshape(-1, 3), axis=0)) > 50


def test_suggestions_fit_the_data(tmp_path, capsys):
    """Printed with reasons, classes among them, and as overrides that train_net.py takes."""
    folder = write_dataset(tmp_path / "data", "mixed", more_classes=["pole"])
    assert run(folder, "--suggest") == 0
    out = capsys.readouterr().out
    overrides = shlex.split(out.rpartition("As config overrides:")[2].replace("\\\n", ""))
    cfg = load_config(str(CONFIGS / "efficientps_streets.yaml"), overrides)
    assert (cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES) == (5, 2)
    assert cfg.INPUT.MIN_SIZE_TEST == 96 and "the median short edge is 96 px" in out


def test_fix_takes_a_trailing_slash_and_comes_first(tmp_path, monkeypatch, capsys):
    """A copy does not wait for drawings that fail; a wrong DEST is told before hours of reading."""
    monkeypatch.chdir(tmp_path)
    folder = write_dataset(tmp_path / "data")
    CASES["unlisted id"][0](folder)
    (tmp_path / "output").touch()
    assert run(folder, "--fix", f"{tmp_path}/fixed/", "--draw", 1) == 2
    assert "check path, rights and disk space" in capsys.readouterr().err
    assert run(tmp_path / "fixed") == 0
    monkeypatch.setattr("efficientps_d2.data.checks.dataset.check_dataset", None)
    assert run(folder, "--fix", tmp_path / "fixed") == 2


def test_too_many_classes_are_an_error(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", more_classes=[])
    more = [{"id": 1000 + i, "name": f"class {i}", "isthing": 0} for i in range(300)]
    edit_json(folder, lambda c: c["categories"].extend(more))
    assert run(folder) == 1 and "Error: class list" in capsys.readouterr().out
