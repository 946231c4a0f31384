"""What happens to bad JSONs, and to ground truths and images that are damaged."""

import logging
import shutil

import numpy as np
import pytest
from checker import edit_json
from detectron2.data import DatasetCatalog
from panopticapi.utils import rgb2id
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scenes import write_dataset
from test_dataset_mapper import mapper_without_augmentation

from efficientps_d2 import InputError
from efficientps_d2.engine.trainer import Trainer

BAD_JSON = {
    "category without a name": (lambda c: c["categories"][2].pop("name"), 'no "name"'),
    "category without isthing": (lambda c: c["categories"][2].pop("isthing"), 'no "isthing"'),
    "the same category id twice": (lambda c: c["categories"][2].update(id=7), "different ids"),
    "no categories": (lambda c: c.pop("categories"), 'no list "categories"'),
    "unknown category": (
        lambda c: c["annotations"][0]["segments_info"][0].update(category_id=999),
        "category 999",
    ),
    "segment without an id": (
        lambda c: c["annotations"][0]["segments_info"][0].pop("id"),
        'segment of .*truth_0.png .* has no "id"',
    ),
    "a bare number as segment": (
        lambda c: c["annotations"][0]["segments_info"].append(7),
        "segment of .*truth_0.png 7 is no JSON object",
    ),
    "no list of segments": (
        lambda c: c["annotations"][0].update(segments_info=None),
        'annotation .* has "segments_info" None',
    ),
    "a text as image": (lambda c: c["images"].append("x.jpg"), "image 'x.jpg' is no JSON object"),
    "a list as category id": (
        lambda c: c["annotations"][0]["segments_info"][0].update(category_id=[26]),
        r'has "category_id" \[26\]',
    ),
    # The text "no" would count as a thing, and as a crowd.
    "a text as isthing": (lambda c: c["categories"][0].update(isthing="no"), "\"isthing\" 'no'"),
    "a text as iscrowd": (
        lambda c: c["annotations"][0]["segments_info"][0].update(iscrowd="no"),
        "truth_0.png has the iscrowd 'no'; write 0 or 1",
    ),
    "two as isthing": (lambda c: c["categories"][0].update(isthing=2), '"road" has the isthing 2'),
    "a word as color": (
        lambda c: c["categories"][0].update(color="red"),
        '"road" has the color \'red\'; give three numbers from 0 to 255 or "#rrggbb"',
    ),
    "a short color": (
        lambda c: c["categories"][1].update(color=[1, 2]),
        r'"sky" .*color \[1, 2\];',
    ),
    "a color too bright": (lambda c: c["categories"][1].update(color=[1, 2, 256]), "color .*256"),
    "image without a file": (lambda c: c["images"][1].pop("file_name"), 'no "file_name"'),
    "unknown image": (lambda c: c["annotations"][1].update(image_id="x"), "image 'x'"),
    "missing image file": (
        lambda c: c["images"][0].update(file_name="sub/none.png"),
        "none.png, which does not exist",
    ),
    "absolute path": (
        lambda c: c["images"][0].update(file_name="/etc/passwd"),
        "names /etc/passwd, which is outside the dataset",
    ),
    "path that leads out": (
        lambda c: c["annotations"][0].update(file_name="../../x.png"),
        "which is outside the dataset; put it into its folder",
    ),
    "same name in two folders": (
        lambda c: c["images"][0].update(file_name="other/picture.1.png"),
        "same id or file name",
    ),
    "no annotations": (lambda c: c.update(annotations=[]), "at least one image"),
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_one_sentence(tmp_path, register, case):
    change, message = BAD_JSON[case]
    folder = write_dataset(tmp_path / "bad")
    edit_json(folder, change)
    with pytest.raises(InputError, match=message) as error:
        DatasetCatalog.get(register("bad", folder))
    assert "panoptic.json" in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", '{"images": []', "\x00\x01"])
def test_damaged_json_is_one_sentence(tmp_path, register, content):
    folder = write_dataset(tmp_path / "damaged")
    (folder / "panoptic.json").write_text(content)
    with pytest.raises(InputError, match="panoptic.json"):
        register("damaged", folder)
    assert "damaged" not in DatasetCatalog.list()
    # Nothing is half registered: once repaired, the same name works.
    shutil.rmtree(folder)
    register("damaged", write_dataset(folder))


def disagree(folder, kind):
    path = folder / "panoptic" / "truth_0.png"
    pixels = np.array(Image.open(path))
    if kind == "size":
        pixels = pixels[:-1]
    elif kind == "unlisted":
        pixels[0, 0] = (9, 9, 9)
    else:
        pixels[rgb2id(pixels) == 2] = (1, 0, 0)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("size", "must have the same size"),
        ("unlisted", "has pixels but is not in the JSON"),
        ("absent", "segment 2 has no pixels but is in the JSON"),
    ],
)
def test_png_that_disagrees_with_its_json(tmp_path, register, kind, message):
    folder = write_dataset(tmp_path / "disagree")
    disagree(folder, kind)
    name = register("disagree", folder)
    with pytest.raises(InputError, match=f"truth_0.png.*{message}"):
        mapper_without_augmentation(name)(DatasetCatalog.get(name)[0])


def truncate(file):
    file.write_bytes(file.read_bytes()[:200])


def add_endless_text(file):
    """Pillow refuses it by a ValueError, which is no OSError as for most damages."""
    text = PngInfo()
    text.add_text("comment", "x" * 2_000_000, zip=True)
    Image.open(file).save(file, "PNG", pnginfo=text)


@pytest.mark.parametrize("damage", [truncate, add_endless_text])
def test_damaged_images_are_skipped_up_to_a_limit(tmp_path, register, tiny_config, caplog, damage):
    folder = write_dataset(tmp_path / "damaged")
    damage(folder / "images" / "sub" / "picture.0.jpg")
    name = register("damaged", folder)
    records = DatasetCatalog.get(name)
    with caplog.at_level(logging.WARNING, logger="efficientps_d2"):
        assert mapper_without_augmentation(name)(records[0]) is None
    assert "picture.0.jpg" in caplog.text and "1 so far" in caplog.text
    with pytest.raises(InputError, match="DAMAGED_IMAGE_LIMIT"):
        mapper_without_augmentation(name, limit=0)(records[0])
    # The loader goes on with the other images; an evaluation does not.
    cfg = tiny_config(name)
    batches = iter(Trainer.build_train_loader(cfg))
    seen = {sample["image_id"] for _ in range(6) for sample in next(batches)}
    assert seen == {"i1", "i2"}
    with pytest.raises(InputError, match="picture.0.jpg or its panoptic PNG cannot be read"):
        list(Trainer.build_test_loader(cfg, name))


def test_training_data_without_a_readable_image_are_named(tmp_path, register, tiny_config):
    """Also when there are fewer images than may be skipped."""
    folder = write_dataset(tmp_path / "all_damaged")
    for image in (folder / "images" / "sub").iterdir():
        image.write_bytes(b"")
    cfg = tiny_config(register("all_damaged", folder))
    with pytest.raises(InputError, match=r"picture.*and so are 2 more training images"):
        next(iter(Trainer.build_train_loader(cfg)))
