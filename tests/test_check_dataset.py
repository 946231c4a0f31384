"""The checker: every kind of problem is found, named and repaired; its numbers are right."""

import importlib.util
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import write_dataset
from damaged_data import CASES, IMAGE, edit_json, edit_truth
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from efficientps_d2 import register_cityscapes_layout
from efficientps_d2.dataset_check import check_dataset
from efficientps_d2.dataset_problems import BY_HAND, KINDS, LEFT_OUT
from efficientps_d2.dataset_source import find_dataset, read_source
from efficientps_d2.streets import make_streets

TOOL = Path(__file__).parent.parent / "tools" / "check_dataset.py"
spec = importlib.util.spec_from_file_location("check_dataset", TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def run(*arguments) -> int:
    return tool.main([*map(str, arguments), "--processes", "1"])


def problems(folder) -> list:
    return check_dataset(read_source(find_dataset(str(folder)))).problems


def files(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_every_problem_is_found_named_and_repaired(tmp_path, capsys, case):
    damage, kind, file = CASES[case]
    folder = write_dataset(tmp_path / "data")
    damage(folder)
    before = files(folder)
    found = problems(folder)
    assert any(p.kind == kind and p.file.endswith(file) for p in found), found
    status = run(folder)
    out = capsys.readouterr().out
    assert f": {kind}: " in out and file in out
    assert status == int(any(KINDS[p.kind].is_error for p in found))
    if KINDS[kind].is_error:
        assert status == 1

    assert run(folder, "--fix", tmp_path / "fixed") == status
    out = capsys.readouterr().out
    assert files(folder) == before and not (tmp_path / "fixed.partial").exists()
    repairs = {KINDS[p.kind].repair for p in found}
    assert ("Left out because of" in out) == (LEFT_OUT in repairs)
    assert ("Not repaired because of" in out) == (BY_HAND in repairs)
    left = problems(tmp_path / "fixed")
    if BY_HAND not in repairs and case != "no annotations":
        assert run(tmp_path / "fixed") == 0
        assert not [p for p in left if KINDS[p.kind].is_error], left
    if KINDS[kind].repair == BY_HAND:
        assert kind in {p.kind for p in left}, "nothing that needs a decision is hidden"


def test_every_kind_has_a_case():
    tested = {kind for _, kind, _ in CASES.values()}
    assert tested | {"category that differs", "Cityscapes layout"} == set(KINDS)


def test_sound_data_have_no_problems_and_the_copy_is_the_same(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")
    assert run(folder, "--fix", tmp_path / "fixed" / "train") == 0
    assert "0 error(s), 0 warning(s)" in capsys.readouterr().out
    source = {path.relative_to(folder): content for path, content in files(folder).items()}
    copy = tmp_path / "fixed" / "train"
    copied = {path.relative_to(copy): content for path, content in files(copy).items()}
    assert source == copied


def test_all_problems_of_a_set_are_found_at_once(tmp_path):
    folder = write_dataset(tmp_path / "data")
    for case in ("truncated image", "unlisted id", "no iscrowd", "nameless category"):
        CASES[case][0](folder)
    edit_json(folder, lambda c: c["annotations"][1].update(file_name="none.png"))
    kinds = {p.kind for p in problems(folder)}
    assert kinds >= {
        *("unreadable file", "unlisted id", "iscrowd missing", "damaged category"),
        "missing file",
    }


def test_files_outside_are_not_opened(tmp_path, monkeypatch):
    """Neither by the check nor by the repair; links in the data set may lead anywhere."""
    folder = write_dataset(tmp_path / "data")
    outside = tmp_path / "secret.png"
    shutil.copy(folder / "images/sub/picture.1.png", outside)
    edit_json(folder, lambda c: c["images"][0].update(file_name="../../secret.png"))
    edit_json(folder, lambda c: c["images"][1].update(file_name=str(outside)))
    (folder / "images" / "link.jpg").symlink_to(folder / IMAGE)
    edit_json(folder, lambda c: c["images"][2].update(file_name="link.jpg"))
    opened = []
    real_open = Image.open
    monkeypatch.setattr(Image, "open", lambda f, *a: opened.append(str(f)) or real_open(f, *a))
    assert run(folder, "--fix", tmp_path / "fixed") == 1
    assert opened and not any("secret" in name for name in opened)
    copied = [path.name for path in (tmp_path / "fixed" / "images").rglob("*.*")]
    assert copied == ["link.jpg"]
    inside = [p.file for p in problems(folder) if p.kind == "path outside the data set"]
    assert len(inside) == 2


def test_strange_names_are_printed_harmlessly(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")
    edit_json(folder, lambda c: c["images"][0].update(file_name="a\n\x1b[2J\ud800\0.jpg"))
    assert run(folder) == 1
    out = capsys.readouterr().out
    assert r"a\n\x1b[2J\ud800\x00.jpg: does not exist" in out


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
        (["nothing_train"], '"nothing_train" is neither'),
        ([archive], "is neither a registered data set nor a folder"),
        ([folder / "images"], "is neither"),
        (["coco_2017_train"], "has no panoptic annotations"),
        ([folder, "--config-file", "none.yaml"], "none.yaml"),
        ([folder, "--fix", folder], exists),
        ([folder, "--fix", archive], exists),
        ([folder, "--fix", folder / "fixed"], "lies in the data set itself"),
        ([folder, "--fix", archive / "fixed"], "Not a directory"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("Error: ") and message in error
    (tmp_path / "new.partial").mkdir()
    assert run(folder, "--fix", tmp_path / "new") == 2
    for arguments in (["--processes", "0"], ["--draw", "-1"], ["--nonsense"], []):
        with pytest.raises(SystemExit) as stop:
            tool.main([str(folder), *arguments] if arguments else [])
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
    edit_truth(folder, lambda p: np.copyto(p, np.arange(p.size).reshape(p.shape) + 10**6))
    assert run(folder) == 1
    out = capsys.readouterr().out
    assert "Error: empty segment: 300" in out and "more; --all prints them" in out
    assert "15360 id(s) with 15360 pixels are not in the JSON: 1000000, 1000001" in out
    assert len(out.splitlines()) < 70
    run(folder, "--all")
    assert len(capsys.readouterr().out.splitlines()) > 3000


def test_several_processes_find_the_same(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", count=9)
    for case in ("truncated image", "wrong area"):
        CASES[case][0](folder)
    run(folder, "--fix", tmp_path / "one")
    alone = capsys.readouterr().out
    assert tool.main([str(folder), "--fix", str(tmp_path / "two"), "--processes", "2"]) == 1
    assert capsys.readouterr().out.replace("two", "one") == alone
    names = [
        {path.relative_to(root): content for path, content in files(root).items()}
        for root in (tmp_path / "one", tmp_path / "two")
    ]
    assert names[0] == names[1]


@pytest.fixture
def unregister():
    """Forget what a test registers."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_registered_names_in_both_layouts(tmp_path, capsys, monkeypatch, unregister):
    """A folder by its name; Cityscapes with images by id and classes from the registration."""
    make_streets(tmp_path / "streets", splits={"val": 1})
    register_cityscapes_layout("painted_val", str(tmp_path / "streets"), "val")
    assert run("painted_val", "--fix", tmp_path / "copy") == 0
    assert "vegetation" in capsys.readouterr().out
    assert not problems(tmp_path / "copy")
    json_file = tmp_path / "streets/gtFine/cityscapes_panoptic_val.json"
    content = json.loads(json_file.read_text())
    road = next(c for c in content["categories"] if c["name"] == "road")
    road["isthing"] = 1
    json_file.write_text(json.dumps(content))
    assert run("painted_val") == 1
    out = capsys.readouterr().out
    assert "category that differs: 1 " in out and "road, is not among those of painted_val" in out

    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    (tmp_path / "sets" / "berries").mkdir(parents=True)
    write_dataset(tmp_path / "sets" / "berries" / "check")
    edit_json(tmp_path / "sets/berries/check", lambda c: c["categories"][0].pop("name"))
    assert run("berries_check") == 1
    assert "damaged category: 1 " in capsys.readouterr().out


def test_cityscapes_without_label_files(tmp_path, capsys, monkeypatch):
    make_streets(tmp_path / "data.v1", splits={"val": 1})
    metadata = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    for key in ("image_root", "panoptic_root", "panoptic_json", "gt_dir"):
        inside = getattr(metadata, key).rpartition("cityscapes/")[2]
        monkeypatch.setitem(vars(metadata), key, str(tmp_path / "data.v1" / inside))
    assert run("cityscapes_fine_panoptic_val") == 1
    out = capsys.readouterr().out
    assert "Cityscapes layout: 1 " in out and "contains a dot" in out and "1 error(s)" in out


def test_drawings(tmp_path, capsys, monkeypatch):
    """Also of pictures with problems; none of pictures that cannot be read."""
    monkeypatch.chdir(tmp_path)
    folder = write_dataset(tmp_path / "berries" / "train")
    for case in ("the same segment id", "unlisted id", "text as isthing"):
        CASES[case][0](folder)
    (folder / "images/sub/picture.1.png").unlink()
    run(folder, "--draw", 5)
    assert "Drew 2 picture(s) into output/check/berries_train" in capsys.readouterr().out
    drawn = sorted((tmp_path / "output/check/berries_train").iterdir())
    assert [path.name for path in drawn] == ["picture.0.png", "picture.2.png"]
    truth = np.asarray(Image.open(drawn[1]))[-150:]
    assert len(np.unique(truth.reshape(-1, 3), axis=0)) > 50
