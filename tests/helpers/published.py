"""Small datasets in the layouts of their publishers, painted by code."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import labels as cityscapes_labels
from panopticapi.utils import id2rgb
from PIL import Image

from efficientps_d2.data.streets.lidar import write_lidar_streets

SEED = 11


class Region(NamedTuple):
    """A rectangle: label, number of the object from 1 (0 in stuff and groups), y0, x0, y1, x1."""

    label: object
    number: int
    box: tuple[int, int, int, int]


def scene(
    size: tuple[int, int], stuff: tuple, things: tuple, void, group=None, seed=SEED
) -> list[Region]:
    """Two kinds of stuff, two objects of each thing, a group, a void stripe; painted in order."""
    height, width = size
    rng = np.random.default_rng(seed)
    regions = [Region(stuff[0], 0, (0, 0, height, width))]
    regions.append(Region(stuff[1], 0, (height // 2, 0, height, width)))
    for label in things:
        for number in (1, 2):
            h, w = height // 3, width // 6
            y, x = rng.integers(height - h), rng.integers(width // 2 - w)
            regions.append(Region(label, number, (y, x, y + h, x + w)))
    if group is not None:
        regions.append(Region(group, 0, (1, width // 2, height // 2, width - 8)))
    return [*regions, Region(void, 0, (0, width - 5, height, width))]


def raster(regions: list[Region], size: tuple[int, int], code) -> np.ndarray:
    """(H, W) int64 of the codes of regions."""
    values = np.zeros(size, np.int64)
    for region in regions:
        y0, x0, y1, x1 = region.box
        values[y0:y1, x0:x1] = code(region)
    return values


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def save_photo(file: Path, size: tuple[int, int], seed: int = 0) -> None:
    save(file, np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8))


LABEL_IDS = {label.name: label.id for label in cityscapes_labels}
ROADS = {"stuff": ("sky", "road"), "things": ("car", "person"), "void": "static"}


def write_kitti(root: Path, count: int = 10) -> Path:
    """data_semantics.zip: images of different sizes; the second has no thing but a group."""
    for i in range(count):
        size = (60, 100 + 2 * (i % 2))
        things = () if i == 1 else ROADS["things"]
        regions = scene(size, ROADS["stuff"], things, "caravan", group="bicycle", seed=i)
        values = raster(regions, size, lambda r: LABEL_IDS[r.label] * 256 + r.number)
        name = f"{i:06d}_10.png"
        save_photo(root / "training" / "image_2" / name, size, i)
        save(root / "training" / "instance" / name, values.astype(np.uint16))
        save(root / "training" / "semantic" / name, (values >> 8).astype(np.uint8))
        save_photo(root / "training" / "semantic_rgb" / name, size)
    save_photo(root / "testing" / "image_2" / "000000_10.png", size)
    return root


def write_kitti_panoptic(root: Path) -> Path:
    """ "KITTI panoptic" of the authors of EfficientPS."""

    def code(region):
        label = LABEL_IDS[region.label]
        return label * 1000 + region.number - 1 if region.number else label

    for split in ("training", "validation"):
        for i in range(2):
            regions = scene((60, 100), ROADS["stuff"], ROADS["things"], "static", "bus", seed=i)
            name = f"2011_{split}_{i}.png"
            save_photo(root / split / "images" / name, (60, 100), i)
            save(root / split / "annotations" / name, id2rgb(raster(regions, (60, 100), code)))
    return root


def vistas_labels(things: int, stuff: int, unused: int) -> list[dict]:
    """Labels of a config; "unlabeled" is the last, others that are not evaluated stand between."""
    kinds = [(True, True)] * things + [(False, True)] * stuff
    kinds[5:5] = [(i % 2 == 1, False) for i in range(unused - 1)]
    return [
        {
            "name": "void--unlabeled" if i == len(kinds) else f"kind--{i}",
            "readable": "Unlabeled" if i == len(kinds) else f"Kind - {i}",
            "instances": instances,
            "evaluate": evaluate,
            "color": [i, 255 - i, 7],
        }
        for i, (instances, evaluate) in enumerate([*kinds, (False, False)])
    ]


VISTAS = {"v1.2": (37, 28, 1), "v2.0": (70, 46, 8)}


def write_vistas(root: Path, version: str, nested: bool = True) -> Path:
    """``nested`` as the release of version 2.0, otherwise as those before it."""
    labels = vistas_labels(*VISTAS[version])
    config = f"config_{version}.json" if nested else "config.json"
    root.mkdir(parents=True)
    (root / config).write_text(json.dumps({"labels": labels, "version": version[1:]}))
    things = [i for i, x in enumerate(labels) if x["instances"] and x["evaluate"]]
    stuff = [i for i, x in enumerate(labels) if not x["instances"] and x["evaluate"]]
    void = len(labels) - 1
    palette = [value for label in labels for value in label["color"]]
    for split in ("training", "validation"):
        for i, key in enumerate(("__CRyFzoDOXn6unQ6a3DnQ", "a-9tRyFzoDOXn6unQ6a3D_")):
            size = ((60, 100), (90, 70))[i]
            regions = scene(size, (stuff[0], stuff[-1]), (things[0], things[-1]), void, seed=i)
            values = raster(regions, size, lambda r: r.label * 256 + max(r.number - 1, 0))
            save_photo(root / split / "images" / f"{key}.jpg", size, i)
            folder = root / split / version if nested else root / split
            save(folder / "instances" / f"{key}.png", values.astype(np.uint16))
            indices = Image.fromarray((values >> 8).astype(np.uint8), "L")
            indices.putpalette(palette)
            (folder / "labels").mkdir(exist_ok=True)
            indices.save(folder / "labels" / f"{key}.png")
    save_photo(root / "testing" / "images" / "7RyFzoDOXn6unQ6a3DnQxx.jpg", (60, 100))
    return root


def corners(region: Region) -> list[list]:
    """Polygons include their last row and column; some tools write fractions."""
    y0, x0, y1, x1 = map(int, region.box)
    return [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1.0]]


def write_idd(root: Path) -> Path:
    """Parts I and II in one folder; objects that are deleted, or have too few points."""
    for split in ("train", "val"):
        for drive, stem, suffix in (("119", "005506", ".png"), ("7", "frame0340", ".jpg")):
            size = (108, 192)
            regions = scene(size, ("sky", "road"), ("car", "animal"), "out of roi", "ridergroup")
            objects = [{"label": r.label, "polygon": corners(r)} for r in regions]
            objects.insert(2, {"label": "truck", "polygon": objects[0]["polygon"], "deleted": 1})
            objects.append({"label": "bus", "polygon": [[1, 1], [9, 9]], "verified": 0})
            content = {"imgWidth": size[1], "imgHeight": size[0], "objects": objects}
            file = root / "gtFine" / split / drive / f"{stem}_gtFine_polygons.json"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(content))
            image = root / "leftImg8bit" / split / drive / f"{stem}_leftImg8bit{suffix}"
            save_photo(image, size)
    save_photo(root / "leftImg8bit" / "test" / "3" / "000001_leftImg8bit.png", (108, 192))
    return root


def write_scannet(root: Path) -> Path:
    """Two scenes; labels of the second have the size of the depth camera, which misses a corner."""
    depth = np.full((30, 40), 1500, np.uint16)
    depth[:4, :6] = 0
    for scene_name, size in (("scene0000_00", (60, 80)), ("scene0011_01", (30, 40))):
        regions = scene(size, (1, 2), (4, 14), 0, seed=4)
        regions.append(Region(22, 3, (0, 0, 4, 6)))  # ceiling, which is none of the 20
        values = raster(regions, size, lambda r: r.label * 1000 + r.number if r.label else 0)
        values[-3:, :5] = 2007  # a second number of the floor
        folder = root / scene_name
        save_photo(folder / "color" / "000100.jpg", (60, 80))
        save(folder / "instance" / "000100.png", values.astype(np.uint16))
        save(folder / "label" / "000100.png", (values // 1000).astype(np.uint8))
        save(folder / "depth" / "000100.png", depth)
    (root / "scene0707_00" / "color").mkdir(parents=True)
    (root / "scannetv2_train.txt").write_text("scene0000_00\n")
    (root / "scannetv2_val.txt").write_text("scene0011_01\n")
    return root


def write_pastis(root: Path) -> Path:
    """Two patches of each fold; dates as a dict or as its text, and one patch without a summer."""
    features = []
    for i in range(10):
        patch, dates = 10000 + 7 * i, [20180917, 20181201, 20190130, 20190415, 20190701, 20190930]
        dates = dates[:4] if i == 1 else dates
        regions = scene((64, 64), (0, 0), (1 + i, 18), 19, seed=i)
        parcels = raster(regions, (64, 64), lambda r, regions=regions: regions.index(r))
        classes = raster(regions, (64, 64), lambda r: r.label)
        parcels = np.where(classes == 0, 0, parcels)
        rng = np.random.default_rng(i)
        series = 100 * classes + rng.integers(0, 500, (len(dates), 10, 64, 64))
        arrays = {
            f"DATA_S2/S2_{patch}": series.astype(np.int16),
            f"ANNOTATIONS/TARGET_{patch}": np.stack([classes] * 3).astype(np.uint8),
            f"INSTANCE_ANNOTATIONS/INSTANCES_{patch}": parcels.astype(np.int32),
            f"INSTANCE_ANNOTATIONS/HEATMAP_{patch}": np.zeros((64, 64)),
        }
        for name, array in arrays.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(root / f"{name}.npy", array)
        by_index = {str(j): date for j, date in enumerate(dates)}
        properties = {"ID_PATCH": patch, "Fold": i % 5 + 1, "TILE": "t30uxv"}
        properties["dates-S2"] = json.dumps(by_index) if i % 2 else by_index
        features.append({"type": "Feature", "properties": properties, "geometry": None})
    content = {"type": "FeatureCollection", "features": features}
    (root / "metadata.geojson").write_text(json.dumps(content))
    return root


def write_semantic_kitti(root: Path) -> Path:
    """One scan of each sequence with labels, and one of the test sequences."""
    write_lidar_streets(root / "dataset", 1)
    test = root / "dataset" / "sequences" / "11" / "velodyne"
    test.mkdir(parents=True)
    first = root / "dataset" / "sequences" / "08" / "velodyne" / "000000.bin"
    (test / "000000.bin").write_bytes(first.read_bytes())
    return root


# By the name of the dataset, and what tells its releases apart.
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
