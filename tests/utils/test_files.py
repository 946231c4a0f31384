"""Files and folders are replaced whole, and what a killed command left is cleaned up."""

import contextlib
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from efficientps_d2_runtime import files
from efficientps_d2_runtime.files import in_use, replacing_file, replacing_folder
from efficientps_d2_runtime.locks import lock


def replace_slowly(dest, queue) -> None:
    with replacing_folder(dest) as new:
        (new / "half").touch()
        queue.put(str(new))
        time.sleep(60)


@pytest.fixture
def busy(tmp_path):
    """A process that is in the middle of replacing a folder, and its new folder."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=replace_slowly, args=(tmp_path / "mine", queue))
    process.start()
    yield process, queue.get()
    process.kill()
    process.join()


def write(dest) -> None:
    with replacing_folder(dest) as new:
        (new / "whole").touch()


def test_leftovers_of_a_killed_command_are_removed(tmp_path, busy, caplog):
    process, folder = busy
    write(tmp_path / "mine")
    write(tmp_path / "mine.v2")
    assert os.path.isdir(folder), "in use"
    process.kill()
    process.join()
    write(tmp_path / "mine.v2")
    assert os.path.isdir(folder), "of another dataset"
    write(tmp_path / "mine")
    assert sorted(os.listdir(tmp_path)) == ["mine", "mine.v2"]
    assert os.listdir(tmp_path / "mine") == ["whole"]
    assert "which a command that was killed had left" in caplog.text


def test_a_folder_that_only_a_killed_command_holds_comes_back(tmp_path, busy):
    process, folder = busy
    process.kill()
    process.join()
    old = os.path.join(os.path.dirname(folder), "old")
    os.mkdir(old)
    open(os.path.join(old, "precious"), "w").close()
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "mine"):
        raise RuntimeError
    assert os.listdir(tmp_path / "mine") == ["precious"]


def test_a_planted_folder_changes_no_file(tmp_path):
    folder = tmp_path / ".mine.abcdefgh.partial"
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("of the user")
    (folder / "lock").symlink_to(precious)
    (folder / "name").write_text("mine")
    write(tmp_path / "mine")
    assert precious.read_text() == "of the user" and folder.is_dir()
    with pytest.raises(OSError):
        lock(folder / "lock")


def test_long_names_are_not_mixed_up(tmp_path):
    first, second = tmp_path / f"{'x' * 50}A", tmp_path / f"{'x' * 50}B"
    left = tmp_path / f".{'x' * 50}.abcdefgh.partial"
    (left / "old").mkdir(parents=True)
    (left / "lock").touch()
    (left / "name").write_text(first.name)
    write(second)
    assert (left / "old").is_dir()
    with replacing_folder(first):
        assert first.is_dir() and not left.exists()


def test_other_hidden_folders_stay(tmp_path):
    for name in (".mine.abcdefgh", ".mine.abc.efgh", ".mine.abcdefgh.partial/precious"):
        (tmp_path / name).mkdir(parents=True)
    write(tmp_path / "mine")
    assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize("marks", [(), ("lock",), ("name",)])
def test_what_was_killed_before_or_after_its_work_is_removed(tmp_path, marks):
    """A command marks its folder after it is made, and removes it after what lies in it."""
    left = tmp_path / ".mine.abcdefgh.partial"
    left.mkdir()
    for mark in marks:
        (left / mark).touch()
    write(tmp_path / "mine")
    assert os.listdir(tmp_path) == ["mine"]


def test_folders_of_others_are_not_looked_into(tmp_path, monkeypatch):
    """Nobody may, and whoever can write there could plant one."""
    left = tmp_path / ".mine.abcdefgh.partial"
    left.mkdir()
    for name, text in (("lock", ""), ("name", "mine"), ("precious", "of another user")):
        (left / name).write_text(text)
    iterate = Path.iterdir

    def refused(self):
        if self == left:
            raise PermissionError(13, "Permission denied", str(self))
        return iterate(self)

    monkeypatch.setattr(Path, "iterdir", refused)
    write(tmp_path / "mine")
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: left.stat().st_uid + 1)
    write(tmp_path / "mine")
    assert (left / "precious").is_file()
    monkeypatch.undo()
    write(tmp_path / "mine")
    assert not left.exists()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_folder_that_vanishes_meanwhile_is_no_error(tmp_path, monkeypatch, caplog, moment):
    """Its process removes it, before or after another one has locked it."""
    left = tmp_path / ".mine.abcdefgh.partial"
    left.mkdir()

    def late(path):
        if moment == "before":
            shutil.rmtree(left, ignore_errors=True)
        held = lock(path)
        shutil.rmtree(left, ignore_errors=True)
        return held

    monkeypatch.setattr(files, "lock", late)
    with pytest.raises(FileNotFoundError) if moment == "before" else contextlib.nullcontext():
        late(left / "lock")
    left.mkdir(exist_ok=True)
    files.remove_leftovers(tmp_path / "mine", "*.partial")
    assert not left.exists() and not caplog.text


def test_new_data_is_removed_while_its_folder_is_marked(tmp_path, monkeypatch):
    """Or a command that is killed meanwhile would leave a folder that nobody recognises."""
    seen = []
    remove = shutil.rmtree

    def watched(path, *args, **kwargs):
        if Path(path).name == "new":
            seen.append(sorted(os.listdir(Path(path).parent)))
        return remove(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", watched)
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "mine") as new:
        (new / "half").touch()
        raise RuntimeError
    assert seen[0] == ["lock", "name", "new"]


def test_a_folder_is_marked_although_another_command_takes_it_for_a_leftover(tmp_path):
    """It was there for a moment without a mark."""
    folder = tmp_path / ".mine.abcdefgh.partial"
    with in_use(folder, "mine"):  # it was removed
        write(tmp_path / "mine")
        assert sorted(os.listdir(folder)) == ["lock", "name"]
    folder.joinpath("name").unlink()
    held = lock(folder / "lock")  # by who is about to remove it
    threading.Timer(0.1, held.close).start()
    with in_use(folder, "mine"):
        assert folder.joinpath("name").read_text() == "mine"


def test_a_folder_stays_when_its_replacement_fails_half_way(tmp_path, monkeypatch):
    write(tmp_path / "mine")
    rename = Path.rename

    def interrupted(self, target):
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "mine"):
        pass
    assert os.listdir(tmp_path) == ["mine"] and os.listdir(tmp_path / "mine") == ["whole"]


def test_a_file_is_the_former_one_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(RuntimeError), replacing_file(file) as partial:
        partial.write_text("half")
        assert file.read_text() == "old"
        raise RuntimeError
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["a.json"]
    with replacing_file(file) as partial:
        partial.write_text("new")
    assert file.read_text() == "new" and os.listdir(tmp_path) == ["a.json"]
