"""A preparation that goes on: after a stop, a change of the source, or a kill."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from project import Refused, call_verb, run_verb
from published import WRITERS, write_pastis, write_scannet

from efficientps_d2_runtime.locks import lock


def contents(folder):
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): (f.stat().st_mtime_ns, f.read_bytes()) for f in files}


def test_a_preparation_goes_on_where_it_was_stopped(kitti):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest)
    before = contents(dest)
    lost = [dest / "val" / "panoptic" / "000004_10.png", dest / "train" / "panoptic.json"]
    for file in lost:
        file.unlink()
    damaged = dest / "val" / "panoptic" / "000009_10.png"
    damaged.write_bytes(damaged.read_bytes()[:50])  # as a power failure leaves it
    call_verb("prepare", "kitti", source, dest)
    after = contents(dest)
    assert {name: file[1] for name, file in after.items()} == {
        name: file[1] for name, file in before.items()
    }
    images = [name for name in before if "/images/" in name]
    assert all(after[name][0] == before[name][0] for name in images)


def test_two_commands_do_not_work_in_one_folder(kitti):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    for options in ([], ["--longest-edge", 50]):  # also where the other prepares something else
        with (
            lock(dest / ".prepare.lock"),
            pytest.raises(Refused, match="is being prepared by process"),
        ):
            call_verb("prepare", "kitti", source, dest, "--processes", 1, *options)


def test_what_has_changed_in_the_source_is_made_again(kitti):
    """A file that was unpacked again is another one, however old it says it is."""
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    before = contents(dest)
    for folder in ("image_2", "instance"):
        file = source / "training" / folder / "000003_10.png"
        Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(source / "new.png")
        (source / "new.png").rename(file)
        os.utime(file, (0, 0))
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    changed = {name for name, file in contents(dest).items() if file[1] != before[name][1]}
    made = {f"train/{part}/000003_10.png" for part in ("images", "panoptic")}
    assert changed == made | {"train/panoptic.json"}
    assert run_verb("check", dest / "train") == 0


def test_files_beside_the_panoptic_map_are_made_again(tmp_path):
    source, dest = write_pastis(tmp_path / "source"), tmp_path / "mine"
    call_verb("prepare", "pastis", source, dest, "--processes", 1)
    shutil.rmtree(dest / "fold1" / "void")
    call_verb("prepare", "pastis", source, dest, "--processes", 1)
    assert len([*(dest / "fold1" / "void").iterdir()]) == 2


def test_ctrl_c_says_how_to_go_on(kitti, monkeypatch, capsys):
    source, dest = kitti

    def stop_after_three(work, jobs, *_):
        yield from map(work, jobs[:3])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("efficientps_d2.data.datasets.prepare.map_images", stop_after_three)
        assert run_verb("prepare", "kitti", source, dest) == 130
    assert "mine is not complete; the same command goes on there" in capsys.readouterr().err
    assert not [*dest.rglob("panoptic.json")] and not [*dest.rglob("*.partial")]
    with pytest.raises(Refused, match="mine/train is not prepared completely; run its `prepare`"):
        call_verb("check", dest / "train")
    call_verb("prepare", "kitti", source, dest)
    assert run_verb("check", dest / "train") == 0


def changed_parcels(source):
    file = source / "INSTANCE_ANNOTATIONS" / "INSTANCES_10007.npy"
    np.save(file, np.load(file) + 1)


def changed_dates(source):
    """A date of autumn is one of winter."""
    file = source / "metadata.geojson"
    file.write_text(file.read_text().replace("20180917", "20180117"))


def changed_depth(source):
    save = Image.fromarray(np.full((30, 40), 900, np.uint16)).save
    save(source / "scene0011_01" / "depth" / "000100.png")


def changed_classes(source):
    """The first thing is stuff, and the first stuff a thing."""
    file = source / "config_v1.2.json"
    content = json.loads(file.read_text())
    labels = content["labels"]
    stuff = next(label for label in labels if label["evaluate"] and not label["instances"])
    labels[0]["instances"], stuff["instances"] = False, True
    file.write_text(json.dumps(content))


VISTAS = {f"panoptic/{stem}.png" for stem in ("__CRyFzoDOXn6unQ6a3DnQ", "a-9tRyFzoDOXn6unQ6a3D_")}


@pytest.mark.parametrize(
    "name, write, change, made",
    [
        ("vistas", WRITERS["vistas, second release"], changed_classes, VISTAS),
        ("pastis", write_pastis, changed_parcels, {"panoptic/10007.png", "void/10007.png"}),
        ("pastis", write_pastis, changed_dates, {f"images/{10000 + 7 * i}.npy" for i in range(10)}),
        ("scannet_depth", write_scannet, changed_depth, {"images/scene0011_01__000100.tif"}),
    ],
)
def test_all_that_a_frame_is_made_of_counts(tmp_path, name, write, change, made):
    source, dest = write(tmp_path / "source"), tmp_path / "mine"
    call_verb("prepare", name, source, dest, "--processes", 1)
    before = contents(dest)
    change(source)
    call_verb("prepare", name, source, dest, "--processes", 1)
    changed = {file for file, now in contents(dest).items() if now[1] != before[file][1]}
    parts = {file.partition("/")[2] for file in changed}
    assert parts - {"panoptic.json", ""} == made
    before = contents(dest)
    call_verb("prepare", name, source, dest, "--processes", 1)  # now nothing is to be made
    after = contents(dest)
    assert all(after[file][0] == before[file][0] for file in after if file.count("/") == 2)


def test_a_preparation_without_notes_goes_on_with_all_of_them(tmp_path):
    """Of an earlier version, which did not note the dates."""
    source, dest = write_pastis(tmp_path / "source"), tmp_path / "mine"
    call_verb("prepare", "pastis", source, dest, "--processes", 1)
    settings = json.loads((dest / "prepare.json").read_text())
    del settings["notes"]
    (dest / "prepare.json").write_text(json.dumps(settings))
    before = contents(dest)
    call_verb("prepare", "pastis", source, dest, "--processes", 1)
    after = contents(dest)
    assert all(after[file][0] != before[file][0] for file in after if "/panoptic/" in file)


def test_no_json_tells_of_images_that_were_made_again(kitti):
    """A preparation that fails midway leaves no JSON of before beside new PNGs."""
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    good, bad = (source / "training" / "instance" / f"00000{i}_10.png" for i in (0, 3))
    Image.fromarray(np.full((60, 100), 7 * 256, np.uint16)).save(good)
    bad.write_bytes(b"damaged")
    with pytest.raises(Refused, match="000003_10.png cannot be read"):
        call_verb("prepare", "kitti", source, dest, "--processes", 1)
    assert not (dest / "train" / "panoptic.json").exists()
    assert (dest / "val" / "panoptic.json").exists()  # of which nothing has changed


@pytest.mark.parametrize("left", [[".prepare.lock"], [".prepare.lock", "prepare.json.partial"]])
def test_a_folder_that_was_only_claimed_is_taken(kitti, left):
    source, dest = kitti
    dest.mkdir()
    for name in left:
        (dest / name).write_text("")
    call_verb("prepare", "kitti", source, dest)
    assert run_verb("check", dest / "train") == 0
    assert not list(dest.glob("*.partial"))


def test_a_json_that_a_kill_left_half_written_is_removed(kitti):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest)
    (dest / "train" / "panoptic.json.partial").write_text("{")
    call_verb("prepare", "kitti", source, dest, "--overwrite")
    assert not list(dest.rglob("*.partial"))
