"""A preparation: restarted, of large images, into a folder with something else."""

import os
import pickle
import shutil
import sys

import numpy as np
import pytest
from one_step import NORMS, ONE_STEP, SMALL
from PIL import Image
from project import Refused, call_verb, run_verb
from published import (
    WRITERS,
    write_pastis,
    write_vistas,
)
from scenes import unregister

from efficientps_d2.data.datasets.names import open_published
from efficientps_d2.data.datasets.names import open_published
from efficientps_d2.data.datasets.prepare import prepare
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


def test_images_survive_the_download(kitti):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    shutil.rmtree(source)
    assert run_verb("check", dest / "val") == 0


def test_large_training_images_can_be_made_smaller(kitti, capsys):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--longest-edge", 50)
    assert run_verb("check", dest / "train") == 0
    assert {max(Image.open(f).size) for f in (dest / "train" / "images").iterdir()} == {50}
    assert {max(Image.open(f).size) for f in (dest / "val" / "images").iterdir()} == {100, 102}
    with pytest.raises(Refused, match="longest_edge 50, not 60; .*--overwrite"):
        call_verb("prepare", "kitti", source, dest, "--longest-edge", 60)
    call_verb("prepare", "kitti", source, dest, "--longest-edge", 60, "--overwrite")
    assert {max(Image.open(f).size) for f in (dest / "train" / "images").iterdir()} == {60}


def unpack_half(source):
    (source / "training" / "image_2" / "000003_10.png").unlink()


def lose_labels(source):
    shutil.rmtree(source / "training" / "instance")


def relabel(source):
    file = source / "training" / "instance" / "000003_10.png"
    Image.fromarray(np.full((60, 102), 99 * 256, np.uint16)).save(file)


def crop_labels(source):
    file = source / "training" / "instance" / "000003_10.png"
    Image.fromarray(np.full((60, 90), 7 * 256, np.uint16)).save(file)


def store_8_bits(source):
    shutil.copy(source / "training" / "semantic" / "000003_10.png", source / "training" / "instance")


def truncate_image(source):
    file = source / "training" / "image_2" / "000003_10.png"
    file.write_bytes(file.read_bytes()[:10])


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (unpack_half, r"image_2 has no counterpart of .*000003_10.png and lacks 1 of 10 files; un"),
        (lose_labels, r"training/instance does not exist, which KITTI has; .*data_semantics.zip"),
        (relabel, r"instance/000003_10.png has the label 99, which KITTI does not have; "),
        (crop_labels, r"000003_10.png is 90 x 60 pixels, but .*000003_10.png is 102 x 60; unpack"),
        (store_8_bits, r"000003_10.png is not a grey PNG of instance ids of 16 bits but .* L; "),
        (truncate_image, r"000003_10.png cannot be read as an image .*; unpack it again."),
    ],
)
def test_what_is_wrong_with_a_download(kitti, damage, sentence):
    source, dest = kitti
    damage(source)
    with pytest.raises(Refused, match=sentence):
        call_verb("prepare", "kitti", source, dest, "--processes", 1)
    assert not list(dest.rglob("panoptic.json"))


def test_all_images_with_a_mistake_are_named(kitti, capsys):
    source, dest = kitti
    relabel(source)
    truncate = source / "training" / "image_2" / "000006_10.png"
    truncate.write_bytes(b"no image")
    assert run_verb("prepare", "kitti", source, dest) == 1
    errors = capsys.readouterr().err
    assert "2 things must be corrected:" in errors
    assert "has the label 99" in errors and "000006_10.png cannot be read" in errors


def test_what_a_destination_may_be(kitti, tmp_path):
    source, dest = kitti
    dest.mkdir()
    (dest / "thesis.txt").write_text("mine")
    for options in ([], ["--overwrite"]):
        with pytest.raises(Refused, match="mine holds something else; give another DEST"):
            call_verb("prepare", "kitti", source, dest, *options)
    assert (dest / "thesis.txt").read_text() == "mine"
    with pytest.raises(Refused, match="contain each other; give another DEST"):
        call_verb("prepare", "kitti", source, source / "prepared")
    with pytest.raises(Refused, match="mine/thesis.txt is no folder; give"):
        call_verb("prepare", "kitti", dest / "thesis.txt", tmp_path / "other")


def test_two_commands_do_not_work_in_one_folder(kitti):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    with lock(dest / ".prepare.lock"), pytest.raises(Refused, match="is being prepared by process"):
        call_verb("prepare", "kitti", source, dest, "--processes", 1)


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


@pytest.mark.parametrize("title", WRITERS)
def test_processes_do_not_get_the_frames_of_all_images(tmp_path, monkeypatch, title):
    """They would be sent with every few images: hours for the larger datasets."""
    sizes = []

    def measure(work, jobs, *_):
        sizes.append(len(pickle.dumps(work)))
        return []

    monkeypatch.setattr("efficientps_d2.data.datasets.prepare.map_images", measure)
    source, name = WRITERS[title](tmp_path / "source"), title.partition(",")[0]
    with pytest.raises(ValueError):  # nothing was made
        prepare(name, open_published(name, source), source, tmp_path / "dest")
    assert sizes[0] < 20_000


def test_images_with_an_orientation_are_stored_as_their_labels(tmp_path):
    source, dest = write_vistas(tmp_path / "source", "v1.2"), tmp_path / "dest"
    file = source / "training" / "images" / "__CRyFzoDOXn6unQ6a3DnQ.jpg"
    image = Image.open(file)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(file, exif=exif, quality=95)
    for options in ([], ["--longest-edge", 50, "--overwrite"]):
        call_verb("prepare", "vistas", source, dest, *options)
        assert run_verb("check", dest / "train") == 0
        made = Image.open(dest / "train" / "images" / file.name)
        assert made.getexif().get(0x0112, 1) == 1 and made.width > made.height


def test_what_else_a_folder_holds_is_not_removed(kitti):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    (dest / "train" / "notes.txt").write_text("mine")
    with pytest.raises(Refused, match="train holds notes.txt, which `prepare` has not written"):
        call_verb("prepare", "kitti", source, dest, "--overwrite")
    assert (dest / "train" / "panoptic.json").is_file()
    (dest / "prepare.json").write_text('{"steps": 3}')
    with pytest.raises(Refused, match="mine holds something else; give another DEST"):
        call_verb("prepare", "kitti", source, dest, "--overwrite")


def test_train_goes_on_where_it_was_stopped(kitti, tmp_path, monkeypatch):
    """By the same command; what the training says of going on can be pasted."""
    source, dest = kitti[0], tmp_path / "went_on"
    monkeypatch.setattr(sys, "argv", ["efficientps-d2", "prepare"])
    options = [*ONE_STEP, *SMALL, "OUTPUT_DIR", tmp_path / "run"]
    options += [value for part in NORMS for value in (f"MODEL.{part}.NORM", "GN")]
    try:
        call_verb("prepare", "kitti", source, dest, "--train", "--opts", *options)
        assert sys.argv[1:3] == ["train", "--config-file"] and "--resume" in sys.argv
        before = (tmp_path / "run" / "model_final.pth").read_bytes()
        call_verb("prepare", "kitti", source, dest, "--train", "--opts", *options)
    finally:
        for split in ("train", "val"):
            unregister(f"went_on_{split}")
    assert (tmp_path / "run" / "model_final.pth").read_bytes() == before
    assert not (tmp_path / "run" / "earlier_run").exists()  # where a new training would move it
    assert (tmp_path / "run" / "inference" / "went_on_val_metrics.json").is_file()
    with pytest.raises(SystemExit):
        run_verb("prepare", "kitti", source, dest, "--opts", "SEED", 1)
