"""Published datasets, from their publishers' layouts to evaluation; painted, not downloaded."""

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

NORMS = ("EFFICIENTNET", "FPN", "SEM_SEG_HEAD", "ROI_MASK_HEAD")  # a crop has few pixels

WRITERS = {
    "kitti": write_kitti,
    "kitti, panoptic": write_kitti_panoptic,
    "vistas": lambda root: write_vistas(root, "v1.2", nested=False),
    "vistas, second release": lambda root: write_vistas(root, "v1.2"),
    "vistas_v2": lambda root: write_vistas(root, "v2.0"),
    "idd": write_idd,
    "scannet": write_scannet,
    "scannet_depth": write_scannet,
    "pastis": write_pastis,
    "semantic_kitti": write_semantic_kitti,
}
# Things, stuff, and images of each split.
EXPECTED = {
    "kitti": (8, 11, "8 train, 2 val"),
    "kitti, panoptic": (8, 11, "2 train, 2 val"),
    "vistas": (37, 28, "2 train, 2 val"),
    "vistas, second release": (37, 28, "2 train, 2 val"),
    "vistas_v2": (70, 46, "2 train, 2 val"),
    "idd": (9, 17, "2 train, 2 val"),
    "scannet": (18, 2, "1 train, 1 val"),
    "scannet_depth": (18, 2, "1 train, 1 val"),
    "pastis": (18, 1, "2 fold1, 2 fold2, 2 fold3, 2 fold4, 2 fold5"),
    "semantic_kitti": (8, 11, "10 train, 1 val"),
}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A function that prepares a dataset as a user does; returns its name and folder."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    names = []

    def prepared(title):
        name = title.partition(",")[0]
        source = WRITERS[title](tmp_path / "source")
        call_verb("prepare", name, source, "--processes", 1)
        names.extend(f"{name}_{split}" for split in open_published(name, source).splits)
        return name, tmp_path / "datasets" / name

    yield prepared
    for name in names:
        unregister(name)


@pytest.mark.parametrize("title", WRITERS)
def test_prepared_data_train_and_a_perfect_prediction_gets_100(
    prepared, title, tiny_config, capsys
):
    name, folder = prepared(title)
    things, stuff, counts = EXPECTED[title]
    assert f": {counts}." in capsys.readouterr().out
    config = f"efficientps_{name}"
    own = load_config(config).DATASETS
    test = own.TEST[0]
    folder = folder / test.removeprefix(f"{name}_")
    assert run_verb("check", folder, "--config-file", config) == 0

    norms = [value for part in NORMS for value in (f"MODEL.{part}.NORM", "GN")]
    cfg = tiny_config(test, *ONE_STEP, *norms, "DATASETS.TRAIN", own.TRAIN, config=config)
    fill_auto(cfg)
    train_one_step(cfg)
    results = evaluate_perfect_predictions(cfg, test)
    assert results["panoptic_seg"]["PQ"] == results["sem_seg"]["mIoU"] == pytest.approx(100)
    assert results["segm"]["AP"] == pytest.approx(100)
    if name == "pastis":
        assert results["pastis"]["PQ"] == pytest.approx(100)
    if name == "semantic_kitti":  # means are over 19 classes, of which 12 occur
        assert 98 < results["points"]["mIoU"] * 19 / 12 < 100
        assert 95 < results["points"]["PQ"] * 19 / 12 < 100
    metadata = MetadataCatalog.get(test)
    assert len(metadata.thing_dataset_id_to_contiguous_id) == things
    assert len(metadata.stuff_classes) == things + stuff


def test_names_are_those_of_the_command_and_the_configs(tmp_path):
    assert tuple(PUBLISHED) == NAMES
    for title, write in WRITERS.items():
        source, name = write(tmp_path / title), title.partition(",")[0]
        assert published_as(source) == name.removesuffix("_depth")
        data, own = open_published(name, source), load_config(f"efficientps_{name}").DATASETS
        assert tuple(f"{name}_{split}" for split in data.train) == own.TRAIN
        assert tuple(f"{name}_{split}" for split in data.test) == own.TEST


def test_each_prepare_command_of_the_page_works(tmp_path, monkeypatch):
    """As it is written, on a small dataset at the place of the download."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    text = (ROOT / "docs" / "DATASETS.md").read_text()
    commands = re.findall(r"^efficientps-d2 (prepare (\w+) (\S+).*)$", text, re.MULTILINE)
    assert {name for _, name, _ in commands} == set(NAMES) - {"vistas_v2"}
    for command, name, source in commands:
        if "--train" not in command:
            write = WRITERS["vistas, second release" if name == "vistas" else name]
            write(tmp_path / source) if not Path(source).exists() else None
            call_verb(*command.split())
            assert list((tmp_path / "datasets" / name).glob("*/panoptic.json"))


def test_train_follows_at_once(tmp_path, monkeypatch):
    """Under other names of datasets, which the config does not have."""
    monkeypatch.chdir(tmp_path)
    small = [*("MODEL.EFFICIENTNET.NAME", "tf_efficientnet_lite0", "MODEL.EFFICIENTNET.WEIGHTS", "")]
    small += [*("MODEL.FPN.OUT_CHANNELS", 16, "SOLVER.MAX_ITER", 1, "SOLVER.STEPS", "()")]
    small += [*("SOLVER.IMS_PER_BATCH", 1, "SOLVER.REFERENCE_WORLD_SIZE", 0, "MODEL.DEVICE", "cpu")]
    small += [*("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.CROP.SIZE", "(64, 64)", "OUTPUT_DIR", "run")]
    small += [*("INPUT.MIN_SIZE_TEST", 64, "DATALOADER.NUM_WORKERS", 0, "SEED", 1)]
    norms = [value for part in NORMS for value in (f"MODEL.{part}.NORM", "GN")]
    source = write_kitti(tmp_path / "source")
    call_verb("prepare", "kitti", source, "my_kitti", "--train", "--opts", *small, *norms)
    assert (tmp_path / "run" / "model_final.pth").is_file()
    assert (tmp_path / "run" / "inference" / "my_kitti_val_metrics.json").is_file()
    for split in ("train", "val"):
        unregister(f"my_kitti_{split}")
    with pytest.raises(SystemExit):
        run_verb("prepare", "kitti", source, "--opts", "SEED", 1)


def segments_of(folder, stem):
    """Ids of the PNG and, for each id, the name of its class and whether it is a crowd."""
    content = json.loads((folder / "panoptic.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    (found,) = [a for a in content["annotations"] if a["image_id"] == stem]
    ids = read_segment_ids(str(folder / "panoptic" / found["file_name"]))
    return ids, {s["id"]: (names[s["category_id"]], s["iscrowd"]) for s in found["segments_info"]}


def kinds(segments):
    return Counter(segments.values())


def test_kitti_groups_and_void(prepared):
    _, folder = prepared("kitti")
    ids, segments = segments_of(folder / "train", "000000_10")
    kinds_of = kinds(segments)
    assert kinds_of[("sky", 0)] == kinds_of[("road", 0)] == kinds_of[("bicycle", 1)] == 1
    assert kinds_of[("person", 0)] == 2
    assert (ids[:, -5:] == 0).all()  # a caravan has instances but is not evaluated
    # Every fifth image is for validation.
    assert sorted(f.stem for f in (folder / "val" / "images").iterdir()) == ["000004_10", "000009_10"]


def test_vistas_has_no_groups(prepared):
    """Objects count from 0, and labels that are not evaluated are void."""
    _, folder = prepared("vistas_v2")
    ids, segments = segments_of(folder / "train", "__CRyFzoDOXn6unQ6a3DnQ")
    assert not any(crowd for _, crowd in segments.values())
    assert (ids[:, -5:] == 0).all()
    categories = json.loads((folder / "train" / "panoptic.json").read_text())["categories"]
    assert [c["id"] for c in categories][:6] == [1, 2, 3, 4, 5, 13]  # 7 labels before it are unused


def test_idd_is_what_the_publishers_tools_make(prepared, tmp_path):
    """Polygons painted in their order and made 1280 x 720 by Pillow's nearest neighbour."""
    _, folder = prepared("idd")
    truth = tmp_path / "source" / "gtFine" / "val" / "119" / "005506_gtFine_polygons.json"
    objects = json.loads(truth.read_text())["objects"]
    painted = Image.new("I", (192, 108))
    draw = ImageDraw.Draw(painted)
    for number, shape in enumerate(objects, 1):
        if not shape.get("deleted") and len(shape["polygon"]) > 2:
            is_void = shape["label"] == "out of roi"
            draw.polygon([tuple(p) for p in shape["polygon"]], fill=0 if is_void else number)
    expected = np.asarray(painted.resize((1280, 720), Image.Resampling.NEAREST))
    ids, segments = segments_of(folder / "val", "119_005506")
    pairs = set(zip(ids.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert len(pairs) == len(segments) + 1  # each segment is one polygon, and void is void
    found = kinds(segments)
    assert found[("person", 0)] == 2 and found[("rider", 1)] == 1  # animals are level 3's persons
    assert {Image.open(f).size for f in (folder / "val" / "images").iterdir()} == {(1280, 720)}


def test_scannet_walls_and_floors_are_one_segment(prepared):
    _, folder = prepared("scannet")
    ids, segments = segments_of(folder / "val", "scene0011_01__000100")
    assert ids.shape == (60, 80)  # labels of the depth camera's size
    assert kinds(segments)[("floor", 0)] == 1
    assert ids[0, 0] == 0  # a ceiling is none of the 20 classes


@pytest.fixture
def kitti(tmp_path):
    """Source and destination of a preparation by hand."""
    return write_kitti(tmp_path / "source"), tmp_path / "mine"


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
        (truncate_image, r"000003_10.png cannot be read as an image; unpack it again."),
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


def test_other_versions_and_datasets(tmp_path):
    vistas = write_vistas(tmp_path / "vistas", "v1.2")
    with pytest.raises(Refused, match="vistas holds vistas, not vistas_v2; prepare that"):
        call_verb("prepare", "vistas_v2", vistas, tmp_path / "dest")
    with pytest.raises(Refused, match="vistas holds vistas as its publisher packs it; first run: "):
        call_verb("check", vistas)
    shutil.copy(vistas / "config_v1.2.json", vistas / "config_v2.0.json")
    with pytest.raises(Refused, match="has 66 labels, 37 things and 28 stuff, but Vistas v2.0 has"):
        call_verb("prepare", "vistas_v2", vistas, tmp_path / "dest")
    (vistas / "config_v2.0.json").write_text('{"labels": [{"name": "sky"}]}')
    with pytest.raises(Refused, match="config_v2.0.json is no config of Vistas: its labels need"):
        call_verb("prepare", "vistas_v2", vistas, tmp_path / "dest")


def test_scenes_of_scannet_that_are_missing(tmp_path):
    source = write_scannet(tmp_path / "scannet")
    shutil.rmtree(source / "scene0011_01")
    with pytest.raises(Refused, match="scene0011_01/instance does not exist, .* its list"):
        call_verb("prepare", "scannet", source, tmp_path / "dest")
    (source / "scannetv2_val.txt").unlink()
    with pytest.raises(Refused, match="scannetv2_val.txt does not exist, .*github.com/ScanNet"):
        call_verb("prepare", "scannet", source, tmp_path / "dest")


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"objects": [{"label": "cow", "polygon": [[0, 0], [9, 0], [9, 9]]}]}, "label 'cow', which"),
        ({"objects": [{"label": "car"}]}, r"is damaged \(KeyError\('polygon'\)\): imgWidth,"),
        ({"imgWidth": 10**9}, "damaged .*a size of 1000000000 x 108"),
    ],
)
def test_damaged_polygons(tmp_path, change, sentence):
    source = write_idd(tmp_path / "idd")
    file = source / "gtFine" / "val" / "7" / "frame0340_gtFine_polygons.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(Refused, match=f"frame0340_gtFine_polygons.json .*{sentence}"):
        call_verb("prepare", "idd", source, tmp_path / "dest", "--processes", 1)


@given(data=st.data())
def test_segment_ids_tell_class_and_number(data):
    """Whatever a dataset labels comes back from the ids of its PNG."""
    categories = [
        {"id": i, "isthing": data.draw(st.integers(0, 1))}
        for i in data.draw(st.sets(st.integers(0, 1000), min_size=1, max_size=254))
    ]
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=6))
    classes = data.draw(arrays(np.int16, shape, elements=st.integers(-1, len(categories) - 1)))
    numbers = data.draw(arrays(np.int32, shape, elements=st.integers(0, 65535)))
    ids = segment_ids(Labels(classes, numbers), categories, Path("file"))
    is_thing = np.array([c["isthing"] for c in categories])[classes]
    assert ((ids >> 16) - 1 == classes)[classes >= 0].all() and (ids[classes < 0] == 0).all()
    assert (ids & 0xFFFF == numbers * is_thing)[classes >= 0].all()
    assert ids.max() < 2**24


def test_pastis_seasons_and_void(prepared, tmp_path):
    _, folder = prepared("pastis")
    source = tmp_path / "source"
    series = np.load(source / "DATA_S2" / "S2_10000.npy")
    bands = np.load(folder / "fold1" / "images" / "10000.npy")
    assert bands.shape == (64, 64, 40) and bands.dtype == np.int16
    winter = np.median(series[1:3], axis=0).round().transpose(1, 2, 0)
    autumn = np.median(series[[0, 5]], axis=0).round().transpose(1, 2, 0)
    assert (bands[:, :, :10] == winter).all() and (bands[:, :, 30:] == autumn).all()
    without = np.load(folder / "fold2" / "images" / "10007.npy")
    assert np.isnan(without[:, :, 20:30]).all() and np.isfinite(without[:, :, :20]).all()

    ids, segments = segments_of(folder / "fold1", "10000")
    assert kinds(segments) == {("Background", 0): 1, ("Meadow", 0): 2, ("Sorghum", 0): 2}
    void = np.asarray(Image.open(folder / "fold1" / "void" / "10000.png"))
    assert ((void > 0) == (np.load(source / "ANNOTATIONS" / "TARGET_10000.npy")[0] == 19)).all()
    assert (ids[void > 0] == 0).all()


def drop_fold(source):
    content = json.loads((source / "metadata.geojson").read_text())
    content["features"] = [f for f in content["features"] if f["properties"]["Fold"] != 3]
    (source / "metadata.geojson").write_text(json.dumps(content))


def lose_parcels(source):
    shutil.rmtree(source / "INSTANCE_ANNOTATIONS")


def lose_dates(source):
    series = np.load(source / "DATA_S2" / "S2_10014.npy")
    np.save(source / "DATA_S2" / "S2_10014.npy", series[1:])


def number_above(source):
    file = source / "INSTANCE_ANNOTATIONS" / "INSTANCES_10014.npy"
    np.save(file, np.load(file) + 70000)


def crop_target(source):
    file = source / "ANNOTATIONS" / "TARGET_10014.npy"
    np.save(file, np.load(file)[:, :60])


def other_version(source):
    file = source / "ANNOTATIONS" / "TARGET_10014.npy"
    np.save(file, np.load(file) + 5)


def cut_series(source):
    file = source / "DATA_S2" / "S2_10014.npy"
    file.write_bytes(file.read_bytes()[:2000])


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (drop_fold, "metadata.geojson lists no patch of fold3; unpack PASTIS.zip again"),
        (lose_parcels, "10 things must be|INSTANCE_ANNOTATIONS/INSTANCES_.*.npy does not exist"),
        (lose_dates, r"S2_10014.npy has the shape .5, 10, 64, 64., but .* lists 6 dates of 10"),
        (number_above, "TARGET_10014.npy numbers an object 700.., but a panoptic PNG has room"),
        (crop_target, r"INSTANCES_10014.npy has the shape .64, 64., but .* .3, 60, 64.; unpack"),
        (other_version, "TARGET_10014.npy has the label 2., which PASTIS does not have"),
        (cut_series, "S2_10014.npy cannot be read"),
    ],
)
def test_what_is_wrong_with_pastis(tmp_path, damage, sentence):
    source = write_pastis(tmp_path / "pastis")
    damage(source)
    with pytest.raises(Refused, match=sentence):
        call_verb("prepare", "pastis", source, tmp_path / "dest", "--processes", 1)


def test_numbers_that_a_png_has_no_room_for():
    labels = Labels(np.zeros((2, 2), np.int16), np.array([[1, 2], [3, 65536]]))
    with pytest.raises(InputError, match="truth.png numbers an object 65536, but .* 65535; number"):
        segment_ids(labels, [{"id": 1, "isthing": 1}], Path("truth.png"))
