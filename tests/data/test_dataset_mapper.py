"""Registration, class ids, mapper."""

import json

import numpy as np
import pytest
import torch
from checker import edit_json
from detectron2.data import DatasetCatalog, MetadataCatalog
from panopticapi.utils import id2rgb, rgb2id
from PIL import Image
from scenes import CLASS_ORDERS, write_dataset

from efficientps_d2 import InputError, PanopticDatasetMapper, register_dataset_folders
from efficientps_d2.data.classes import class_table, dataset_classes, with_class_counts
from efficientps_d2.data.datasets.register import check_dataset_files, dataset_metadata


def mapper_without_augmentation(name, limit=10):
    return PanopticDatasetMapper(
        augmentations=[],
        image_format="RGB",
        thing_class_ids=class_table(MetadataCatalog.get(name)).thing_ids,
        damaged_image_limit=limit,
    )


@pytest.mark.parametrize(
    ("name", "classes", "things"),
    [
        ("cityscapes_fine_panoptic_train", 19, range(11, 19)),
        ("coco_2017_val_panoptic", 133, range(80)),
        ("streets_val", 19, range(11, 19)),
    ],
)
def test_class_tables_of_built_in_data(name, classes, things):
    table = class_table(dataset_metadata(name))
    assert len(table.names) == classes and table.thing_ids == list(things)


@pytest.mark.parametrize("order", CLASS_ORDERS)
def test_mapper_agrees_with_the_annotation(tmp_path, register, order):
    """Every pixel and instance comes out with the class that the JSON names, in any order."""
    folder = write_dataset(tmp_path / "data.v1", order)
    name = register("any_order", folder)
    content = json.loads((folder / "panoptic.json").read_text())
    categories = {c["id"]: c for c in content["categories"]}
    table = class_table(MetadataCatalog.get(name))
    assert [n + "*" * (i in table.thing_ids) for i, n in enumerate(table.names)] == (
        CLASS_ORDERS[order]
    )
    mapper = mapper_without_augmentation(name)
    records = DatasetCatalog.get(name)
    assert len(records) == 3
    for record, annotation in zip(records, content["annotations"], strict=True):
        sample = mapper(record)
        pan_seg = rgb2id(np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])))
        assert (sample["sem_seg"].numpy()[pan_seg == 0] == 255).all()
        expected_instances = []
        for segment in annotation["segments_info"]:
            category = categories[segment["category_id"]]
            labels = sample["sem_seg"].numpy()[pan_seg == segment["id"]]
            assert {table.names[i] for i in labels} == {category["name"]}
            if category["isthing"]:
                expected_instances.append((category["name"], pan_seg == segment["id"]))
        instances = sample["instances"]
        assert len(instances) == len(expected_instances)
        for i, (class_name, mask) in enumerate(expected_instances):
            detector_class = int(instances.gt_classes[i])
            assert table.names[table.thing_ids[detector_class]] == class_name
            assert (instances.gt_masks.tensor[i].numpy() == mask).all()
            ys, xs = np.nonzero(mask)
            box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert instances.gt_boxes.tensor[i].tolist() == box
        image = np.asarray(Image.open(record["file_name"]).convert("RGB"))
        assert (sample["image"].numpy().transpose(1, 2, 0) == image).all()


def test_crops_recompute_boxes_and_keep_ground_truth_aligned(toy, tiny_config):
    """After scale, crop and flip, boxes fit the masks and masks lie on their class."""
    cfg = tiny_config(toy, "INPUT.SCALE_JITTER", (0.3, 2.0))
    mapper = PanopticDatasetMapper(cfg)
    thing_ids = dataset_classes(cfg).thing_ids
    sizes = set()
    for _ in range(30):
        sample = mapper(DatasetCatalog.get(toy)[0])
        sizes.add(tuple(sample["sem_seg"].shape))
        assert sample["image"].shape[1:] == sample["sem_seg"].shape
        instances = sample["instances"]
        assert (instances.gt_masks.tensor.flatten(1).any(1)).all()
        boxes = instances.gt_masks.get_bounding_boxes().tensor
        assert torch.equal(instances.gt_boxes.tensor, boxes)
        for mask, c in zip(instances.gt_masks.tensor, instances.gt_classes, strict=True):
            assert (sample["sem_seg"][mask] == thing_ids[int(c)]).all()
    assert len(sizes) > 1 and max(h for h, _ in sizes) == 64


def test_image_and_ground_truth_are_augmented_alike(tmp_path, register, tiny_config):
    """An image that shows its own labels still does after scale, crop and flip, in RGB order."""
    folder = write_dataset(tmp_path / "aligned", count=1, size=(100, 160))
    labels = np.zeros((100, 160), dtype=int)
    labels[20:80, 30:70], labels[40:60, 90:150] = 1, 2
    colors = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], dtype=np.uint8)
    Image.fromarray(colors[labels]).save(folder / "images" / "sub" / "image.png")
    Image.fromarray(id2rgb(labels + 1)).save(folder / "panoptic" / "truth_0.png")

    def show_labels(content):
        content["images"][0]["file_name"] = "sub/image.png"
        segments = [{"id": i + 1, "category_id": c} for i, c in enumerate((26, 103, 11))]
        content["annotations"][0]["segments_info"] = segments

    edit_json(folder, show_labels)
    name = register("aligned", folder)
    cfg = tiny_config(name, "INPUT.SCALE_JITTER", (0.7, 1.5))
    mapper = PanopticDatasetMapper(cfg)
    left_of_centre = set()
    for _ in range(20):
        sample = mapper(DatasetCatalog.get(name)[0])
        shown = sample["image"].float().argmax(dim=0)
        expected = torch.tensor([0, -1, 1, 2])[sample["sem_seg"]]
        assert (shown == expected).float().mean() > 0.97  # but for blended edges
        columns = torch.nonzero(expected == 1)[:, 1], torch.nonzero(expected == 2)[:, 1]
        if len(columns[0]) and len(columns[1]):
            left_of_centre.add(bool(columns[0].float().mean() < columns[1].float().mean()))
    assert left_of_centre == {True, False}, "both flipped and not"


def test_crowd_and_thingless_images(tmp_path, register):
    """Crowd regions keep their semantic label and get detector class -1, each part a box."""
    folder = write_dataset(tmp_path / "crowd", count=1)

    def crowd(content):
        for segment in content["annotations"][0]["segments_info"]:
            segment["iscrowd"] = int(segment["category_id"] == 103)

    edit_json(folder, crowd)
    name = register("crowd", folder)
    sample = mapper_without_augmentation(name)(DatasetCatalog.get(name)[0])
    assert {-1} <= set(sample["instances"].gt_classes.tolist()) <= {-1, 1}
    car = sample["instances"].gt_masks.tensor[sample["instances"].gt_classes == -1][0]
    assert (sample["sem_seg"][car] == 2).all()

    pan_seg = np.ones((40, 120), dtype=int)
    pan_seg[10:20, 5:15] = pan_seg[10:20, 100:110] = 2
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 2, "iscrowd": 1}]
    _, instances = mapper_without_augmentation(name)._targets(pan_seg, segments)
    boxes = sorted(instances.gt_boxes.tensor.tolist())
    assert boxes == [[5, 10, 15, 20], [100, 10, 110, 20]]
    assert instances.gt_classes.tolist() == [-1, -1]


def test_heads_of_detectron2_get_no_crowd_regions(stock_config, toy):
    """They would take class -1 for an object."""
    mapper = PanopticDatasetMapper(stock_config)
    pan_seg = np.ones((40, 120), dtype=int)
    pan_seg[10:20, 5:15] = 2
    segments = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 2, "iscrowd": 1}]
    sem_seg, instances = mapper._targets(pan_seg, segments)
    assert len(instances) == 0 and (sem_seg[10:20, 5:15] == 2).all()


def test_folders_are_data_sets_without_code(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (tmp_path / "berries").mkdir()
    write_dataset(tmp_path / "berries" / "train")
    try:
        assert dataset_metadata("berries_train").stuff_classes == ["road", "sky", "car", "person"]
        assert len(DatasetCatalog.get("berries_train")) == 3
        assert register_dataset_folders() == ["berries_train"]  # again, and nothing breaks
        check_dataset_files("berries_train")
    finally:
        DatasetCatalog.remove("berries_train")
        MetadataCatalog.pop("berries_train")


def test_class_counts_follow_the_data(toy, tiny_config):
    cfg = with_class_counts(tiny_config(toy))
    assert (cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES) == (4, 2)
    with pytest.raises(InputError, match="MODEL.ROI_HEADS.NUM_CLASSES is 8.* 2 such"):
        with_class_counts(tiny_config(toy, "MODEL.ROI_HEADS.NUM_CLASSES", 8))


def test_different_classes_in_one_config(tmp_path, register, toy, tiny_config):
    other = register("other", write_dataset(tmp_path / "other", "things_first"))
    with pytest.raises(InputError, match='"toy" and "other" have different classes'):
        dataset_classes(tiny_config(toy, "DATASETS.TEST", (other,)))


def test_unknown_and_missing_data_sets(tmp_path, monkeypatch):
    with pytest.raises(InputError, match='no dataset "nonsense_train"'):
        dataset_metadata("nonsense_train")
    metadata = MetadataCatalog.get("coco_2017_val_panoptic")
    monkeypatch.setitem(vars(metadata), "image_root", str(tmp_path / "val2017"))
    with pytest.raises(
        InputError, match="val2017; put the data there, or set .*DETECTRON2_DATASETS"
    ):
        check_dataset_files("coco_2017_val_panoptic")


def test_cityscapes_path_with_a_dot(tmp_path, monkeypatch):
    root = tmp_path / "data.v1"
    metadata = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    for key in ("image_root", "panoptic_root", "panoptic_json"):
        (root / key).mkdir(parents=True)
        monkeypatch.setitem(vars(metadata), key, str(root / key))
    with pytest.raises(InputError, match="contains a dot"):
        check_dataset_files("cityscapes_fine_panoptic_val")


def test_a_network_is_not_used_with_other_classes(tmp_path, register, tiny_config):
    name = register("mine", write_dataset(tmp_path / "mine"))
    cfg = with_class_counts(tiny_config(name))
    assert with_class_counts(cfg).MODEL.EFFICIENTPS == cfg.MODEL.EFFICIENTPS
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = cfg.MODEL.EFFICIENTPS.CLASS_NAMES[::-1]
    with pytest.raises(InputError, match="is for the classes person, car.* have road, sky"):
        with_class_counts(cfg)
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = []
    assert with_class_counts(cfg).MODEL.EFFICIENTPS.CLASS_NAMES[0] == "road"
