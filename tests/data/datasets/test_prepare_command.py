"""A preparation: restarted, of large images, into a folder with something else."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from one_step import ONE_STEP, train_one_step
from PIL import Image, ImageDraw
from predictions import evaluate_perfect_predictions
from project import ROOT, Refused, call_verb, run_verb
from published import (
    WRITERS,
    write_idd,
    write_kitti,
    write_kitti_panoptic,
    write_pastis,
    write_scannet,
    write_semantic_kitti,
    write_vistas,
)
from scenes import unregister

from efficientps_d2.config.loading import load_config
from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.data.datasets.names import PUBLISHED, open_published, published_as
from efficientps_d2.data.datasets.prepared_files import segment_ids
from efficientps_d2.data.datasets.published import Labels
from efficientps_d2.engine.auto_values import fill_auto
from efficientps_d2_cli.prepare import NAMES
from efficientps_d2_runtime.errors import InputError
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
    with pytest.raises(Refused, match="mine/thesis.txt is no folder"):
        call_verb("prepare", "kitti", dest / "thesis.txt", tmp_path / "other")


def test_two_commands_do_not_work_in_one_folder(kitti):
    source, dest = kitti
    call_verb("prepare", "kitti", source, dest, "--processes", 1)
    with lock(dest / ".prepare.lock"), pytest.raises(Refused, match="is being prepared by process"):
        call_verb("prepare", "kitti", source, dest, "--processes", 1)
