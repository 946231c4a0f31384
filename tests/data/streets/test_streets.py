"""The embedded dataset: layout, labels, and the same scenes from the same seed."""

import json
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label, name2label
from PIL import Image

from efficientps_d2 import InputError
from efficientps_d2.data.streets.dataset import make_streets
from efficientps_d2.data.streets.scene import paint_scene, place_items


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "streets"
    make_streets(root, splits={"train": 2, "val": 3}, seed=7)
    return root


def test_layout_and_labels_are_those_of_cityscapes(streets):
    images = sorted((streets / "leftImg8bit" / "val").glob("*/*_leftImg8bit.png"))
    assert len(images) == 3
    for image in images:
        assert np.asarray(Image.open(image)).shape == (256, 512, 3)
        base = str(image).replace("leftImg8bit/val", "gtFine/val").replace("_leftImg8bit.png", "")
        label_ids = np.asarray(Image.open(f"{base}_gtFine_labelIds.png"))
        train_ids = np.asarray(Image.open(f"{base}_gtFine_labelTrainIds.png"))
        instance_ids = np.asarray(Image.open(f"{base}_gtFine_instanceIds.png")).astype(int)
        polygons = json.loads(Path(f"{base}_gtFine_polygons.json").read_text())
        assert instance_ids.max() >= 24000, "needs 16 bits"
        semantic = np.where(instance_ids < 1000, instance_ids, instance_ids // 1000)
        assert (semantic == label_ids).all()
        pairs = set(zip(label_ids.flat, train_ids.flat, strict=True))
        assert all(id2label[i].trainId == t for i, t in pairs)
        assert {o["label"] for o in polygons["objects"]} <= set(name2label)
    content = json.loads((streets / "gtFine" / "cityscapes_panoptic_val.json").read_text())
    assert len(content["annotations"]) == 3 and len(content["categories"]) == 19


def test_scenes_follow_from_the_seed():
    def scene(seed):
        return paint_scene(np.random.default_rng(seed))

    assert (scene(1)[0] == scene(1)[0]).all() and scene(1)[1] == scene(1)[1]
    assert not (scene(1)[0] == scene(2)[0]).all()


def test_scenes_are_worth_learning():
    """All eleven classes occur, things occlude one another, and few are tiny."""
    seen, sizes = set(), []
    for seed in range(12):
        for item in place_items(np.random.default_rng(seed)):
            seen.add(item.label)
            if name2label[item.label].hasInstances:
                sizes.append(np.ptp(item.outline, axis=0).max())
    assert seen == {
        *("road", "sidewalk", "building", "vegetation", "sky", "pole", "traffic sign"),
        *("person", "rider", "car", "bicycle"),
    }
    assert np.mean(np.array(sizes) < 12) < 0.05 and len(sizes) > 60


def test_other_folders_are_not_overwritten(tmp_path):
    (tmp_path / "gtFine" / "train").mkdir(parents=True)  # somebody's Cityscapes
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty and not a streets dataset"):
        make_streets(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "gtFine" / "train").is_dir()


def test_our_own_folder_is_replaced_whole(tmp_path):
    root = tmp_path / "streets"
    make_streets(root, splits={"train": 2}, seed=1)
    make_streets(root, splits={"val": 1}, seed=1)
    assert len(list(root.glob("leftImg8bit/*/*/*.png"))) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["streets"]
