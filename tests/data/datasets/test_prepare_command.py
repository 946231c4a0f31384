"""A preparation: of large images, with mistakes, into a folder with something else."""

import pickle
import shutil
import sys

import numpy as np
import pytest
from one_step import NORMS, ONE_STEP, SMALL
from PIL import Image
from project import Refused, call_verb, run_verb
from published import WRITERS, write_kitti, write_vistas
from scenes import unregister

from efficientps_d2.data.datasets.names import open_published
from efficientps_d2.data.datasets.prepare import prepare
from efficientps_d2_runtime.images import read_rgb


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
    labels = source / "training"
    shutil.copy(labels / "semantic" / "000003_10.png", labels / "instance")


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
    assert {file.name for file in dest.iterdir()} == {"thesis.txt"}
    with pytest.raises(Refused, match="contain each other; give another DEST"):
        call_verb("prepare", "kitti", source, source / "prepared")
    with pytest.raises(Refused, match="mine/thesis.txt is no folder; give"):
        call_verb("prepare", "kitti", dest / "thesis.txt", tmp_path / "other")


@pytest.mark.parametrize("title", WRITERS)
def test_processes_do_not_get_the_frames_of_all_images(tmp_path, monkeypatch, title):
    """They would be sent with every few images: hours for the larger datasets."""
    sent = []

    def measure(work, jobs, *_):
        sent.append(pickle.dumps(work))
        return []

    monkeypatch.setattr("efficientps_d2.data.datasets.prepare.map_images", measure)
    source, name = WRITERS[title](tmp_path / "source"), title.partition(",")[0]
    with pytest.raises(ValueError):  # nothing was made
        prepare(name, open_published(name, source), source, tmp_path / "dest")
    assert pickle.loads(sent[0]).args[0].splits == {}
    assert b"Frame" not in sent[0]


def turned(file, **options):
    """Give an image file the EXIF orientation 6; returns its stored pixels."""
    image = Image.open(file)
    pixels, exif = np.asarray(image.convert("RGB")), image.getexif()
    exif[0x0112] = 6
    image.save(file, exif=exif, **options)
    return pixels


JPEG = {"format": "JPEG", "quality": 95}
MPO = JPEG | {"format": "MPO", "save_all": True, "append_images": [Image.new("RGB", (9, 9))]}


@pytest.mark.parametrize("options", [JPEG, MPO], ids=["JPEG", "MPO"])
def test_photographs_with_an_orientation_are_stored_as_their_labels(tmp_path, options):
    source, dest = write_vistas(tmp_path / "source", "v1.2"), tmp_path / "dest"
    file = source / "training" / "images" / "__CRyFzoDOXn6unQ6a3DnQ.jpg"
    stored = turned(file, **options)
    assert Image.open(file).format == options["format"]
    for flags in ([], ["--longest-edge", 50, "--overwrite"]):
        call_verb("prepare", "vistas", source, dest, *flags)
        assert run_verb("check", dest / "train") == 0
        made = read_rgb(dest / "train" / "images" / file.name)
        height, width = made.shape[:2]
        expected = Image.fromarray(stored).resize((width, height), Image.Resampling.BILINEAR)
        assert width > height and np.abs(made - np.asarray(expected, float)).mean() < 25


def test_pngs_with_an_orientation_are_stored_as_their_labels(tmp_path):
    source, dest = write_kitti(tmp_path / "source", 5), tmp_path / "dest"
    file = source / "training" / "image_2" / "000000_10.png"
    stored = turned(file)
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    made = dest / "train" / "images" / file.name
    assert Image.open(made).format == "PNG" and (read_rgb(made) == stored).all()
    assert run_verb("check", dest / "train") == 0


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
