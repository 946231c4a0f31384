"""What lies at DEST and beside it: kept, or replaced as a whole."""

import os
from pathlib import Path

import pytest
from import_sources import read_split, run, write_many
from project import Refused, call_verb

from efficientps_d2 import InputError
from efficientps_d2.data.importers import READERS
from efficientps_d2.data.importers.labelme import read_labelme
from efficientps_d2.data.streets import labelme
from efficientps_d2.data.streets.labelme import write_labelme_example


def contents(folder: Path) -> dict:
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def imported(tmp_path):
    """The source and the imported dataset, which are all that the folder holds."""
    source, dest = write_many(tmp_path / "source", 2), tmp_path / "mine"
    run("labelme", source, dest)
    return source, dest


def test_overwrite_replaces_only_imports(imported, tmp_path):
    source, dest = imported
    with pytest.raises(Refused, match="exists already; give another folder or --overwrite"):
        run("labelme", source, dest)
    write_many(source, 3)
    run("labelme", source, dest, "--overwrite", "--split", "1")
    assert not (dest / "val").exists() and len(read_split(dest / "train")) == 3
    assert sorted(f.name for f in tmp_path.iterdir()) == ["mine", "source"]
    (dest / "train" / "notes.txt").write_text("precious")
    with pytest.raises(Refused, match="holds more than an imported dataset"):
        run("labelme", source, dest, "--overwrite")
    assert (dest / "train" / "notes.txt").read_text() == "precious"


def test_failed_overwrite_keeps_the_old_data(imported, tmp_path):
    source, dest = imported
    before = contents(dest)
    (source / "p1.json").write_text("{")
    with pytest.raises(Refused, match="p1.json is not valid JSON"):
        run("labelme", source, dest, "--overwrite")
    assert contents(dest) == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["mine", "source"]


def test_folders_beside_survive(tmp_path):
    """A backup is called mine.old, and a source may be called mine.partial."""
    source, backup = write_many(tmp_path / "mine.partial", 2), tmp_path / "mine.old"
    backup.mkdir()
    (backup / "notes.txt").write_text("precious")
    run("labelme", source, tmp_path / "mine")
    run("labelme", source, tmp_path / "mine", "--overwrite")
    assert (backup / "notes.txt").read_text() == "precious" and (source / "p0.json").exists()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["mine", "mine.old", "mine.partial"]


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupt_while_replacing_keeps_the_old_data(imported, tmp_path, monkeypatch, at, moment):
    source, dest = imported
    before, renames = contents(dest), []
    rename = Path.rename

    def interrupted(file, target):
        if dest in (file, target):
            renames.append(file)
            if len(renames) == at and moment == "before":
                raise KeyboardInterrupt
        rename(file, target)
        if dest in (file, target) and len(renames) == at and moment == "after":
            renames.append(file)
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    write_many(source, 3)
    with pytest.raises(Refused, match="Stopped; .*mine is as it was"):
        run("labelme", source, dest, "--overwrite")
    assert len(renames) >= at and contents(dest) == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["mine", "source"]


def test_interrupt_while_appearing_leaves_nothing(tmp_path, monkeypatch):
    rename = Path.rename

    def interrupted(file, target):
        rename(file, target)
        if target == tmp_path / "mine":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(Refused, match="Stopped"):
        run("labelme", write_many(tmp_path / "source", 2), tmp_path / "mine")
    assert [f.name for f in tmp_path.iterdir()] == ["source"]


def test_interrupt_leaves_nothing(tmp_path, monkeypatch):
    source = write_many(tmp_path / "source", 3)
    during = []

    def interrupted(source, classes):
        images = read_labelme(source, classes)
        yield next(images)
        yield next(images)
        during.extend(f.name for f in tmp_path.rglob("*.png"))
        raise KeyboardInterrupt

    monkeypatch.setitem(READERS, "labelme", interrupted)
    with pytest.raises(Refused, match="Stopped; .*mine is as it was"):
        run("labelme", source, tmp_path / "mine")
    assert during and [f.name for f in tmp_path.iterdir()] == ["source"]


def test_what_appears_at_dest_during_the_import_is_kept(tmp_path, monkeypatch):
    def slow(source, classes):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("precious")
        return read_labelme(source, classes)

    monkeypatch.setitem(READERS, "labelme", slow)
    for flags in ([], ["--overwrite"]):
        with pytest.raises(Refused, match="mine (exists already|holds more)"):
            run("labelme", write_many(tmp_path / "source", 1), tmp_path / "mine", *flags)
        (tmp_path / "mine" / "notes.txt").unlink()
        (tmp_path / "mine").rmdir()


def test_dest_is_a_link_to_a_folder(imported, tmp_path):
    """The folder on another disk is replaced, and the link stays, as often as one likes."""
    source, dest = imported
    disk = tmp_path / "disk"
    disk.mkdir()
    dest.rename(disk / "data")
    dest.symlink_to(disk / "data")
    for count in (3, 4):
        write_many(source, count)
        run("labelme", source, dest, "--overwrite", "--split", "1")
        assert dest.is_symlink() and len(read_split(disk / "data" / "train")) == count
    assert [f.name for f in disk.iterdir()] == ["data"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["disk", "mine", "source"]


def test_dest_and_source_apart(imported, tmp_path):
    source, dest = imported
    before = contents(tmp_path)
    (tmp_path / "link").symlink_to(source)
    for other in (source, source / "mine2", tmp_path, tmp_path / "link" / "mine2"):
        with pytest.raises(Refused, match="contain each other"):
            run("labelme", source, other, "--overwrite")
    with pytest.raises(Refused, match="contain each other"):
        run("labelme", dest / "train", dest, "--overwrite")
    (tmp_path / "link").unlink()
    assert contents(tmp_path) == before


def test_dest_with_missing_parents(tmp_path):
    dest = tmp_path / "a" / "b" / ("c" * 250)  # no room for a longer name beside it
    run("labelme", write_many(tmp_path / "source", 1), dest)
    assert len(read_split(dest / "train")) == 1 and os.listdir(dest.parent) == [dest.name]


def test_impossible_paths_are_one_sentence(tmp_path):
    source = write_many(tmp_path / "source", 1)
    for path in (source / "p0.json" / "mine", tmp_path / ("d" * 300)):
        with pytest.raises(Refused, match=r"^Error: .*\.$"):
            run("labelme", source, tmp_path / "x" / path)
        with pytest.raises(InputError, match=r"cannot be made .*; give another\.$"):
            write_labelme_example(path)
    with pytest.raises(Refused, match="Error: The import failed .*File name too long"):
        run("labelme", tmp_path / ("s/" * 2500), tmp_path / "mine")


def test_names_of_other_data_sets_are_refused(tmp_path):
    source = write_many(tmp_path / "source", 1)
    with pytest.raises(Refused, match='There is another dataset "streets_train"'):
        run("labelme", source, tmp_path / "streets")


def test_example_is_whole_or_absent(tmp_path, monkeypatch):
    dest = tmp_path / "a" / "example"

    def interrupted(*arguments):
        write_scene(*arguments)
        raise KeyboardInterrupt

    write_scene = labelme._write_scene
    monkeypatch.setattr(labelme, "_write_scene", interrupted)
    with pytest.raises(Refused, match="Stopped"):
        call_verb("streets", "--labelme", dest)
    assert not list(dest.parent.iterdir())
    monkeypatch.undo()
    call_verb("streets", "--labelme", dest, "--count", 1)
    assert sorted(os.listdir(dest)) == ["scene_00.jpg", "scene_00.json"]
    with pytest.raises(Refused, match="exists already"):
        call_verb("streets", "--labelme", dest)
