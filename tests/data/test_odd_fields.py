"""JSONs as other tools write them: what can mean only one thing is read like a sound one."""

import json
import shutil

import pytest
from checker import check, edit_json, segments_of
from detectron2.data import DatasetCatalog, MetadataCatalog
from scenes import write_dataset

from efficientps_d2 import InputError
from efficientps_d2.data.coco_fields import Files, is_inside, read_colors
from efficientps_d2.evaluation.score_files import score_files


def texts_as_isthing(content):
    for category, text in zip(content["categories"], ("0", "false", "1", "True"), strict=True):
        category["isthing"] = text


def texts_as_references(content):
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["category_id"] = str(segment["category_id"])
            segment["id"] = str(segment["id"])


def texts_as_category_ids(content):
    for category in content["categories"]:
        category["id"] = str(category["id"])


def texts_as_image_ids(content):
    for i, (image, annotation) in enumerate(
        zip(content["images"], content["annotations"], strict=True)
    ):
        image["id"], annotation["image_id"] = i + 7, f"{i + 7:06}"


def texts_as_sizes(content):
    for image in content["images"]:
        image["height"], image["width"] = "96", "160"


def texts_as_iscrowd(content):
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["iscrowd"] = "0"


def fractions(content):
    for entry in (*content["categories"], *content["images"]):
        entry["id"] = float(entry["id"]) if isinstance(entry["id"], int) else entry["id"]
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            for key in ("id", "category_id", "area", "iscrowd"):
                segment[key] = float(segment[key])


def texts_as_areas(content):
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["area"] = str(segment["area"])


def without_folders(content):
    for image in content["images"]:
        image["file_name"] = image["file_name"].removeprefix("sub/")


def with_more_folders(content):
    for image in content["images"]:
        image["file_name"] = f"images\\{image['file_name']}".replace("/", "\\")
    for annotation in content["annotations"]:
        annotation["file_name"] = f"data/panoptic/{annotation['file_name']}"


ODD = (
    *(texts_as_isthing, texts_as_references, texts_as_category_ids, texts_as_image_ids),
    *(
        texts_as_sizes,
        texts_as_iscrowd,
        texts_as_areas,
        fractions,
        without_folders,
        with_more_folders,
    ),
)


@pytest.mark.parametrize("change", ODD)
def test_odd_fields_are_understood(tmp_path, register, change):
    folder = write_dataset(tmp_path / "data")
    sound = DatasetCatalog.get(register("sound", folder))
    things = MetadataCatalog.get("sound").thing_dataset_id_to_contiguous_id
    edit_json(folder, change)
    records = DatasetCatalog.get(register("odd", folder))
    for record in (*sound, *records):
        del record["image_id"]
    assert records == sound
    odd_things = MetadataCatalog.get("odd").thing_dataset_id_to_contiguous_id
    assert {int(k): v for k, v in odd_things.items()} == things
    assert not check(folder)[1].problems


def test_a_byte_order_mark_is_read_over(tmp_path, register):
    folder = write_dataset(tmp_path / "data")
    file = folder / "panoptic.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(DatasetCatalog.get(register("marked", folder))) == 3
    assert not check(folder)[1].problems


def test_predictions_with_other_types_of_ids_are_scored(tmp_path):
    folder = write_dataset(tmp_path / "data")
    predicted = tmp_path / "predicted.json"
    shutil.copy(folder / "panoptic.json", predicted)
    edit_json(folder, texts_as_references)
    content = json.loads(predicted.read_text())
    texts_as_category_ids(content)
    predicted.write_text(json.dumps({"annotations": content["annotations"]}))
    scores = score_files(
        folder / "panoptic.json", folder / "panoptic", predicted, folder / "panoptic"
    )
    assert not scores.mismatches and scores.num_images == 3


@pytest.mark.parametrize("name", ["other/picture.0.jpg", "../a/picture.0.jpg", "/picture.0.jpg"])
def test_files_of_other_folders_are_not_taken(tmp_path, register, name):
    """Two cameras may number their images alike; nothing outside is looked for."""
    folder = write_dataset(tmp_path / "data")
    edit_json(folder, lambda c: c["images"][0].update(file_name=name))
    with pytest.raises(InputError, match="picture.0.jpg, which (does not exist|is outside)"):
        DatasetCatalog.get(register("absent", folder))


def test_the_only_file_that_fits_is_found(tmp_path):
    for name in ("a/x.png", "b/x.png", "b/y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = Files(str(tmp_path))
    found = {name: files.find(name) for name in ("y.png", "c/b/y.png", "x.png", "c/a/x.png", "z")}
    assert found == {
        "y.png": f"{tmp_path}/b/y.png",
        "c/b/y.png": f"{tmp_path}/b/y.png",
        "x.png": f"{tmp_path}/x.png",  # one of two
        "c/a/x.png": f"{tmp_path}/a/x.png",
        "z": f"{tmp_path}/z",
    }


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["#ff8000", "#0F8", " #FFFFFF"], [[255, 128, 0], [0, 255, 136], [255, 255, 255]]),
        ([[255, 128, 0], [1, 1, 1], None], [[255, 128, 0], [1, 1, 1], None]),
        ([[1.0, 0.0, 0.0], [0, 1.0, 0.5]], [[255, 0, 0], [0, 255, 128]]),
        ([[1.0, 0.0, 0.0], [0, 1, 0]], [[255, 0, 0], [0, 255, 0]]),
        ([[0.5, 0, 1], [200, 0, 0], [1, 0, 0]], [[128, 0, 255], [200, 0, 0], [1, 0, 0]]),
        ([[255.0, 0.0, 127.6]], [[255, 0, 128]]),
        (["ff0000", "#ff00", "red", [1, 2], [1, 2, 3, 4], [-1, 0, 0]], [None] * 6),
        ([[float("nan"), 0, 0], [True, 0, 0], ["1", "2", "3"], 7, {}], [None] * 5),
    ],
)
def test_colors(given, read):
    assert read_colors(given) == read


@pytest.mark.parametrize("color", ["#c86400", [200 / 255, 100 / 255, 0.0]])
def test_colors_of_the_json_become_those_of_the_classes(tmp_path, register, color):
    folder = write_dataset(tmp_path / "data")
    edit_json(folder, lambda c: c["categories"][2].update(color=color))
    assert not check(folder)[1].problems
    metadata = MetadataCatalog.get(register("colored", folder))
    assert metadata.stuff_colors[2] == [200, 100, 0]


def test_segments_of_the_json_are_numbers(tmp_path):
    """What a repaired copy is made of."""
    folder = write_dataset(tmp_path / "data")
    edit_json(folder, texts_as_references)
    content = check(folder)[0].content
    assert all(type(s["id"]) is int and type(s["category_id"]) is int for s in segments_of(content))


def test_two_folders_with_only_the_root_in_common():
    roots = "/data/images", "/home/me/panoptic"
    assert is_inside("/data/images/a.png", *roots) and not is_inside("/etc/passwd", *roots)
    assert is_inside("/data/x.png", "/data/images", "/data/panoptic")
