"""The checker: every kind of problem is found, named and repaired; its numbers are right."""

import json
import shutil

import pytest
from checker import CASES, IMAGE, check, edit_json, files, run
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from project import run_verb
from scenes import write_dataset

from efficientps_d2 import register_cityscapes_layout
from efficientps_d2.data.checks.problems import KINDS, Repair
from efficientps_d2.data.streets.dataset import make_streets


@pytest.mark.parametrize("case", CASES)
def test_every_problem_is_found_named_and_repaired(tmp_path, capsys, case):
    damage, kind, file = CASES[case]
    folder = write_dataset(tmp_path / "data")
    damage(folder)
    before = files(folder)
    found = check(folder)[1].problems
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
    assert ("Left out because of" in out) == (Repair.LEFT_OUT in repairs)
    assert ("Not repaired because of" in out) == (Repair.BY_HAND in repairs)
    left = check(tmp_path / "fixed")[1].problems
    if Repair.BY_HAND not in repairs:
        assert run(tmp_path / "fixed") == 0
        assert not [p for p in left if KINDS[p.kind].is_error], left
    if KINDS[kind].repair == Repair.BY_HAND:
        assert kind in {p.kind for p in left}, "nothing that needs a decision is hidden"


def test_every_kind_has_a_case():
    tested = {kind for _, kind, _ in CASES.values()}
    others = {"category that differs", "Cityscapes layout", "orientation to ignore"}
    others |= {"unusable bands", "number of bands", "pixels without data"}
    assert tested | others == set(KINDS)


def test_sound_data_have_no_problems_and_the_copy_is_the_same(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")
    assert run(folder, "--fix", tmp_path / "fixed" / "train") == 0
    assert "Errors: 0, warnings: 0." in capsys.readouterr().out
    assert files(folder) == files(tmp_path / "fixed" / "train")


@pytest.mark.parametrize("case", ["the same image id", "two annotations"])
def test_ambiguous_images_are_left_out(tmp_path, case):
    """Which image belongs to which annotation is not guessed."""
    folder = write_dataset(tmp_path / "data")
    CASES[case][0](folder)
    run(folder, "--fix", tmp_path / "fixed")
    content = json.loads((tmp_path / "fixed" / "panoptic.json").read_text())
    assert [image["id"] for image in content["images"]] == ["i2"]
    assert [annotation["image_id"] for annotation in content["annotations"]] == ["i2"]


def test_all_problems_of_a_set_are_found_at_once(tmp_path):
    folder = write_dataset(tmp_path / "data")
    for case in ("truncated image", "unlisted id", "no iscrowd", "nameless category"):
        CASES[case][0](folder)
    edit_json(folder, lambda c: c["annotations"][1].update(file_name="none.png"))
    kinds = {p.kind for p in check(folder)[1].problems}
    assert kinds >= {
        *("unreadable file", "unlisted id", "iscrowd missing", "damaged category"),
        "missing file",
    }


def test_files_outside_are_not_opened(tmp_path, monkeypatch):
    """Neither by the check nor by the repair; links in the dataset may lead anywhere."""
    folder = write_dataset(tmp_path / "data")
    outside = tmp_path / "secret.png"
    shutil.copy(folder / "images/sub/picture.1.png", outside)
    edit_json(folder, lambda c: c["images"][0].update(file_name="../../secret.png"))
    edit_json(folder, lambda c: c["images"][1].update(file_name=str(outside)))
    (folder / "images" / "link.jpg").symlink_to(folder / IMAGE)
    edit_json(folder, lambda c: c["images"][2].update(file_name="link.jpg"))
    opened = []
    real_open = Image.open
    monkeypatch.setattr(
        Image, "open", lambda f, *a, **k: opened.append(str(f)) or real_open(f, *a, **k)
    )
    assert run(folder, "--fix", tmp_path / "fixed") == 1
    assert opened and not any("secret" in name for name in opened)
    copied = [path.name for path in (tmp_path / "fixed" / "images").rglob("*.*")]
    assert copied == ["link.jpg"]
    inside = [p.file for p in check(folder)[1].problems if p.kind == "path outside the dataset"]
    assert len(inside) == 2


def test_several_processes_find_the_same(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", count=9)
    for case in ("truncated image", "wrong area"):
        CASES[case][0](folder)
    run(folder, "--fix", tmp_path / "one")
    alone = capsys.readouterr().out
    assert run_verb("check", folder, "--fix", tmp_path / "two", "--processes", 2) == 1
    assert capsys.readouterr().out.replace("two", "one") == alone
    assert files(tmp_path / "one") == files(tmp_path / "two")


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
    left = {p.kind for p in check(tmp_path / "copy")[1].problems}
    assert left == {"class without segments"}, "one scene does not show all 19 classes"
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
    assert "Cityscapes layout: 1 " in out and "contains a dot" in out and "Errors: 1," in out
