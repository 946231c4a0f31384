"""How fast published datasets are prepared and read, and whether memory stays flat.

python tools/benchmarks/datasets.py                     # all, 1024 images each
python tools/benchmarks/datasets.py pastis --images 64

For each dataset one painted image of the usual size is written in the publisher's layout and linked
under 1024 names. Then it is prepared in one process, and read by the training mapper of its config,
with that config's crops.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from detectron2.data import DatasetCatalog, MetadataCatalog  # noqa: E402
from PIL import Image  # noqa: E402

from efficientps_d2.config.loading import load_config  # noqa: E402
from efficientps_d2.data.augmentation import build_train_augmentations  # noqa: E402
from efficientps_d2.data.classes import class_table  # noqa: E402
from efficientps_d2.data.dataset_mapper import PanopticDatasetMapper  # noqa: E402
from efficientps_d2.data.datasets.names import open_published  # noqa: E402
from efficientps_d2.data.datasets.prepare import prepare  # noqa: E402
from efficientps_d2.data.datasets.register import register_dataset_folders  # noqa: E402
from efficientps_d2.data.streets.lidar import scan_street  # noqa: E402
from efficientps_d2.data.streets.scene import paint_scene  # noqa: E402

OBJECTS = 20  # ellipses in each map


def photograph(file: Path, height: int, width: int) -> None:
    image = Image.fromarray(paint_scene(np.random.default_rng(0))[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    image.resize((width, height), Image.Resampling.BICUBIC).save(file, quality=95)


def ids(height: int, width: int, stuff: int, thing: Callable[[int], int]) -> np.ndarray:
    """(H, W) uint16 of stuff with ellipses, each with the id of its number."""
    rng = np.random.default_rng(0)
    pixels = np.full((height, width), stuff, np.uint16)
    for number in range(1, OBJECTS + 1):
        center = int(rng.integers(width)), int(rng.integers(height))
        axes = int(rng.integers(4, width // 12)), int(rng.integers(4, height // 6))
        cv2.ellipse(pixels, center, axes, 0, 0, 360, thing(number), cv2.FILLED)
    return pixels


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".npy":
        np.save(file, pixels)
    else:
        Image.fromarray(pixels).save(file)


def repeat(file: Path, names: list[str]) -> None:
    """Link a file under other names in its folder, then remove it."""
    for name in names:
        os.link(file, file.with_name(name))
    file.unlink()


def write_kitti(root: Path, count: int) -> None:
    names = [f"{i:06d}_10.png" for i in range(count)]
    photograph(root / "training" / "image_2" / "x.png", 375, 1242)
    save(root / "training" / "instance" / "x.png", ids(375, 1242, 7 * 256, lambda n: 26 * 256 + n))
    for folder in ("image_2", "instance"):
        repeat(root / "training" / folder / "x.png", names)


def write_vistas(root: Path, count: int) -> None:
    kinds = [(True, True)] * 37 + [(False, True)] * 28 + [(False, False)]
    labels = [
        {"name": f"{i}", "readable": f"{i}", "instances": a, "evaluate": b, "color": [i, i, i]}
        for i, (a, b) in enumerate(kinds)
    ]
    for split, part in (("training", count), ("validation", 1)):
        photograph(root / split / "images" / "x.jpg", 3000, 4000)
        save(root / split / "instances" / "x.png", ids(3000, 4000, 40 * 256, lambda n: 3 * 256 + n))
        for folder, suffix in (("images", "jpg"), ("instances", "png")):
            names = [f"{i:022d}.{suffix}" for i in range(part)]
            repeat(root / split / folder / f"x.{suffix}", names)
    (root / "config.json").write_text(json.dumps({"labels": labels}))


def write_idd(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    objects = [{"label": "road", "polygon": [[0, 0], [1919, 0], [1919, 1079], [0, 1079]]}]
    for _ in range(OBJECTS):
        center, around = rng.uniform((0, 0), (1920, 1080)), rng.uniform(-90, 90, (12, 2))
        objects.append({"label": "car", "polygon": (center + around).tolist()})
    content = json.dumps({"imgWidth": 1920, "imgHeight": 1080, "objects": objects})
    for split, part in (("train", count), ("val", 1)):
        photograph(root / "leftImg8bit" / split / "0" / "x.png", 1080, 1920)
        truth = root / "gtFine" / split / "0" / "x.json"
        truth.parent.mkdir(parents=True)
        truth.write_text(content)
        numbers = [f"{i:06d}" for i in range(part)]
        repeat(root / f"leftImg8bit/{split}/0/x.png", [f"{n}_leftImg8bit.png" for n in numbers])
        repeat(truth, [f"{n}_gtFine_polygons.json" for n in numbers])


def write_scannet(root: Path, count: int) -> None:
    for scene, part, split in (("scene0000_00", count, "train"), ("scene0001_00", 1, "val")):
        folder = root / scene
        photograph(folder / "color" / "x.jpg", 968, 1296)
        save(folder / "instance" / "x.png", ids(968, 1296, 1001, lambda n: 5000 + n))
        for kind, suffix in (("color", "jpg"), ("instance", "png")):
            repeat(folder / kind / f"x.{suffix}", [f"{i:06d}.{suffix}" for i in range(part)])
        (root / f"scannetv2_{split}.txt").write_text(scene)


def write_pastis(root: Path, count: int) -> None:
    dates = {str(i): 20180900 + 100 * (i % 4) + i % 28 + 1 for i in range(50)}
    series = np.random.default_rng(0).integers(0, 9000, (50, 10, 128, 128)).astype(np.int16)
    parcels = ids(128, 128, 0, lambda n: n)
    files = {"DATA_S2/S2": series, "ANNOTATIONS/TARGET": np.stack([(parcels > 0) * 3] * 3)}
    features, patches = [], [str(10000 + i) for i in range(count)]
    for name, pixels in (files | {"INSTANCE_ANNOTATIONS/INSTANCES": parcels}).items():
        save(root / f"{name}_x.npy", pixels)
        stem = Path(name).name
        repeat(root / f"{name}_x.npy", [f"{stem}_{patch}.npy" for patch in patches])
    for i, patch in enumerate(patches):
        fold = i % 5 + 1
        features.append({"properties": {"ID_PATCH": patch, "Fold": fold, "dates-S2": dates}})
    (root / "metadata.geojson").write_text(json.dumps({"features": features}))


def write_semantic_kitti(root: Path, count: int) -> None:
    points, labels = scan_street(np.random.default_rng(0))
    for number in range(11):
        sequence = root / "sequences" / f"{number:02d}"
        part = count if number == 0 else 1
        for folder, suffix, values in (("velodyne", "bin", points), ("labels", "label", labels)):
            (sequence / folder).mkdir(parents=True)
            file = sequence / folder / f"x.{suffix}"
            file.write_bytes(values.tobytes())
            repeat(file, [f"{i:06d}.{suffix}" for i in range(part)])


WRITERS = {
    "kitti": write_kitti,
    "vistas": write_vistas,
    "idd": write_idd,
    "scannet": write_scannet,
    "pastis": write_pastis,
    "semantic_kitti": write_semantic_kitti,
}


# Instead of what a training would measure from the images.
FOR_PASTIS = (
    *("MODEL.PIXEL_MEAN", [0.0] * 40, "MODEL.PIXEL_STD", [1.0] * 40),
    *("INPUT.MIN_SIZE_TRAIN", (256,), "INPUT.MAX_SIZE_TRAIN", 256, "INPUT.CROP.SIZE", (256, 256)),
)


def megabytes() -> float:
    """Memory of this process now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(name: str, count: int, folder: Path) -> None:
    source, dest = folder / "source", folder / name
    WRITERS[name](source, count)
    data = open_published(name, source)
    frames = sum(map(len, data.splits.values()))
    start = time.perf_counter()
    prepare(name, data, source, dest, longest_edge=2304 if name == "vistas" else None)
    prepared = frames / (time.perf_counter() - start)

    register_dataset_folders(str(folder))
    cfg = load_config(f"efficientps_{name}", FOR_PASTIS if name == "pastis" else ())
    split = f"{name}_{data.train[0]}"
    records = [r for s in data.train for r in DatasetCatalog.get(f"{name}_{s}")][:count]
    mapper = PanopticDatasetMapper(
        augmentations=build_train_augmentations(cfg),
        image_format=cfg.INPUT.FORMAT,
        thing_class_ids=class_table(MetadataCatalog.get(split)).thing_ids,
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
    )
    early, start = None, time.perf_counter()
    for number, record in enumerate(records, 1):
        mapper(record)
        if number == len(records) // 8:
            early = megabytes()
    read = len(records) / (time.perf_counter() - start)
    print(
        f"| {name} | {frames} | {prepared:.1f} | {read:.1f} | {early:.0f} | {megabytes():.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=", ".join(WRITERS))
    parser.add_argument("--images", type=int, default=1024)
    args = parser.parse_args()
    names = args.names or list(WRITERS)
    if unknown := set(names) - set(WRITERS):
        sys.exit(f"Error: {', '.join(sorted(unknown))}: choose from {', '.join(WRITERS)}.")
    print("| dataset | images | prepared / s | read / s | MB after an eighth | MB at the end |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, args.images, Path(folder))


if __name__ == "__main__":
    main()
