"""The imported folder: loads and trains, is complete or absent, and splits as told."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import given, settings
from hypothesis import strategies as st
from import_sources import (
    CAR,
    ROAD,
    SIZE,
    labelme_shape,
    read_split,
    rectangle,
    run,
    write_labelme,
    write_many,
)
from project import Refused
from pycocotools import mask as coco_mask

from efficientps_d2 import PanopticDatasetMapper, register_dataset_folders
from efficientps_d2.data.classes import class_table


def load(dest: Path, split: str) -> list[tuple[dict, dict]]:
    """Each record and what the mapper makes of it, by the way of every dataset folder."""
    name = f"{dest.name}_{split}"
    try:
        assert name in register_dataset_folders(str(dest.parent))
        MetadataCatalog.get(name).class_loader()
        mapper = PanopticDatasetMapper(
            augmentations=[],
            image_format="RGB",
            thing_class_ids=class_table(MetadataCatalog.get(name)).thing_ids,
        )
        table = class_table(MetadataCatalog.get(name))
        assert table.names == ["car", "person", "road", "sky"] and table.thing_ids == [0, 1]
        return [(record, mapper(record)) for record in DatasetCatalog.get(name)]
    finally:
        for other in ("train", "val"):
            if f"{dest.name}_{other}" in DatasetCatalog.list():
                DatasetCatalog.remove(f"{dest.name}_{other}")
                MetadataCatalog.pop(f"{dest.name}_{other}")


def test_imported_folder_is_a_data_set(tmp_path, capsys):
    source, dest = write_many(tmp_path / "source", 5), tmp_path / "imported"
    run("labelme", source, dest)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["imported", "source"]
    assert sorted(f.name for f in dest.iterdir()) == ["train", "val"]
    samples = load(dest, "train") + load(dest, "val")
    assert sorted(Path(record["file_name"]).name for record, _ in samples) == [
        f"p{i}.jpg" for i in range(5)
    ]
    for record, sample in samples:
        assert sample["image"].shape == (3, *SIZE) and record["height"] == SIZE[0]
        expected = np.full(SIZE, 255)
        expected[6:] = 2
        expected[2:8, 2:6] = 0
        assert (sample["sem_seg"].numpy() == expected).all()
        assert sample["instances"].gt_classes.tolist() == [0]
        assert sample["instances"].gt_boxes.tensor.tolist() == [[2, 2, 6, 8]]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["images", "4", "1"] in rows and ["car", "thing", "4", "1"] in rows
    assert ["sky", "stuff", "0", "0"] in rows
    assert ["efficientps-d2", "check", str(dest / "train")] in rows
    assert [f"DETECTRON2_DATASETS={tmp_path}", "efficientps-d2", "train", "--config-file"] in [
        row[:4] for row in rows
    ]
    output = ["OUTPUT_DIR", "output/imported"]
    names = [f"""\"('imported_{split}',)\"""" for split in ("train", "val")]
    assert rows[-1] == ["DATASETS.TRAIN", names[0], "DATASETS.TEST", names[1], *output]


COORDINATES = st.integers(-8, 24).map(float) | st.floats(-8, 24, allow_nan=False, width=32)
SHAPES = st.lists(
    st.tuples(
        st.sampled_from(["car", "person", "road", "sky", "tree"]),
        st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=6),
        st.none() | st.integers(0, 2),
    ),
    min_size=1,
    max_size=6,
)


def covered(points) -> np.ndarray:
    """(H, W) bool by pycocotools on the whole image, which is slow for many shapes."""
    runs = coco_mask.frPyObjects([np.array(points).ravel().tolist()], *SIZE)
    return coco_mask.decode(runs)[:, :, 0].astype(bool)


@given(shapes=SHAPES)
@settings(max_examples=40)
def test_every_pixel_belongs_to_the_last_shape_on_it(shapes):
    """Whatever is drawn, pixels go to the last listed shape; the mapper reads the same."""
    classes = ["car", "person", "road", "sky"]
    expected, owner = np.full(SIZE, 255), np.full(SIZE, -1)
    objects = {}
    for i, (label, points, group) in enumerate(shapes):
        if label not in classes:
            owner[covered(points)], expected[covered(points)] = -1, 255
        else:
            key = label if label in classes[2:] else (label, i if group is None else f"g{group}")
            owner[covered(points)] = objects.setdefault(key, len(objects))
            expected[covered(points)] = classes.index(label)
    with tempfile.TemporaryDirectory() as folder:
        source, dest = Path(folder, "source"), Path(folder, "random")
        drawn = [labelme_shape(label, points, group=group) for label, points, group in shapes]
        write_labelme(source, drawn)
        with contextlib.redirect_stdout(None):
            if (owner < 0).all():
                with pytest.raises(Refused, match="no image with a region of a class"):
                    run("labelme", source, dest)
                return
            run("labelme", source, dest)
        ((record, sample),) = load(dest, "train")
        (gt,) = read_split(dest / "train").values()
    assert (sample["sem_seg"].numpy() == expected).all()
    void = int((gt.ids == 0).sum())
    assert sum(s["area"] for s in gt.segments) + void == gt.ids.size
    # The same pixels belong together.
    pairs = set(zip(owner.ravel().tolist(), gt.ids.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert len(gt.segments) == len(set(owner.ravel().tolist()) - {-1})
    assert void == (owner < 0).sum()
    things = sum(s["name"] in ("car", "person") for s in gt.segments)
    assert len(sample["instances"]) == things and len(record["segments_info"]) == len(gt.segments)


@pytest.mark.parametrize(
    ("count", "split", "train", "val"),
    [(10, "0.8", 8, 2), (2, "0.99", 1, 1), (2, "0.01", 1, 1), (1, "0.5", 1, 0), (3, "1.0", 3, 0)],
)
def test_split_sizes(tmp_path, count, split, train, val):
    source, dest = write_many(tmp_path / "source", count), tmp_path / "mine"
    run("labelme", source, dest, "--split", split)
    assert len(read_split(dest / "train")) == train
    assert (dest / "val").exists() == bool(val)
    if val:
        assert len(read_split(dest / "val")) == val
        assert not read_split(dest / "val").keys() & read_split(dest / "train").keys()


def test_split_follows_the_seed(tmp_path):
    source, names = write_many(tmp_path / "source", 8), []
    for i, seed in enumerate("001"):
        run("labelme", source, tmp_path / f"d{i}", "--seed", seed, "--split", "0.5")
        names.append(sorted(read_split(tmp_path / f"d{i}" / "train")))
    assert names[0] == names[1] != names[2]
    assert names[0] != [f"p{i}" for i in range(4)], "shuffled"


def test_images_of_the_same_name(tmp_path):
    source = tmp_path / "source"
    for name in ("x.jpg", "a/x.jpg", "b/X.png", "b/y.jpg"):
        write_labelme(source, [ROAD, CAR], name=name)
    run("labelme", source, tmp_path / "mine", "--split", "1")
    gts = read_split(tmp_path / "mine" / "train")
    assert len({name.casefold() for name in gts}) == 4 and "y" in gts
    assert "b_X" in gts or "b_x" in gts
    for name in ("x.jpg", "a/x.jpg", "b/X.png", "b/y.jpg"):
        data = (source / name).read_bytes()
        assert sum(t.file.read_bytes() == data for t in gts.values()) >= 1


def test_images_without_a_class_are_left_out(tmp_path, capsys):
    source = write_many(tmp_path / "source", 2)
    write_labelme(source, [labelme_shape("tree", rectangle(0, 0, 3, 3))], name="empty.jpg")
    hidden = labelme_shape("car", rectangle(3, 3, 5, 5))
    write_labelme(source, [hidden, CAR, ROAD], name="hidden.jpg")
    run("labelme", source, tmp_path / "mine", "--split", "1")
    assert sorted(read_split(tmp_path / "mine" / "train")) == ["hidden", "p0", "p1"]
    out = capsys.readouterr().out
    assert "without any region of a class were left out: 1 (empty.json)" in out
    assert "that others cover completely were left out: 1 (hidden.json)" in out


@pytest.mark.parametrize(
    ("things", "stuff", "message"),
    [
        ("car,road", "road", '"road" twice'),
        ("car,car", "road", '"car" twice'),
        ("", "road", "at least one of each"),
        ("car", ",", "at least one of each"),
        (",".join(map(str, range(300))), "road", "no more than 254"),
        ("cat", "sea", "its labels are car, road"),
    ],
)
def test_class_lists(tmp_path, things, stuff, message):
    source = write_many(tmp_path / "source", 1)
    with pytest.raises(Refused, match=message):
        run("labelme", source, tmp_path / "mine", things=things, stuff=stuff)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("split", ["0", "1.5", "-1", "nan"])
def test_impossible_splits(tmp_path, split):
    source = write_many(tmp_path / "source", 1)
    with pytest.raises(Refused, match="--split is"):
        run("labelme", source, tmp_path / "mine", "--split", split)
