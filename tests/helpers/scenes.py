"""Small synthetic panoptic datasets."""

import json
from pathlib import Path

import numpy as np
import tifffile
from detectron2.data import DatasetCatalog, MetadataCatalog
from panopticapi.utils import id2rgb
from PIL import Image

from efficientps_d2 import register_panoptic_dataset

# Names tell the kind: things and stuff in every order that datasets come in.
CLASS_ORDERS = {
    "things_last": ["road", "sky", "car*", "person*"],
    "things_first": ["car*", "person*", "road", "sky"],
    "mixed": ["road", "car*", "sky", "person*"],
}


def make_categories(order: list[str]) -> list[dict]:
    # Dataset ids are neither contiguous nor sorted.
    ids = [26, 7, 103, 11, 40, 5]
    return [
        {"id": ids[i], "name": name.rstrip("*"), "isthing": int(name.endswith("*"))}
        for i, name in enumerate(order)
    ]


def draw_scene(rng: np.random.Generator, categories: list[dict], size: tuple[int, int]):
    """A panoptic map of sky over road, some overlapping cars and people, and a void stripe."""
    height, width = size
    ids = {c["name"]: c["id"] for c in categories}
    pan_seg = np.zeros(size, dtype=np.int64)
    pan_seg[: height // 2] = 1
    pan_seg[height // 2 :] = 2
    categories_of = {1: ids["sky"], 2: ids["road"]}
    for i in range(int(rng.integers(2, 5))):
        segment = 70000 + 300 * i  # needs all three bytes of the PNG
        h, w = rng.integers(height // 4, height // 2), rng.integers(width // 5, width // 3)
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        pan_seg[y : y + h, x : x + w] = segment
        categories_of[segment] = ids["car"] if i % 2 == 0 else ids["person"]
    pan_seg[:, -3:] = 0
    segments = [
        {
            "id": segment,
            "category_id": category,
            "area": int((pan_seg == segment).sum()),
            "iscrowd": 0,
        }
        for segment, category in categories_of.items()
        if (pan_seg == segment).any()
    ]
    return pan_seg, segments


def write_dataset(
    folder: Path, order: str = "things_last", count: int = 3, size=(96, 160), more_classes=()
) -> Path:
    """Write a COCO-panoptic folder with images of sub-folders and different suffixes."""
    rng = np.random.default_rng(5)
    categories = make_categories([*CLASS_ORDERS[order], *more_classes])
    palette = {c["id"]: rng.integers(0, 255, 3) for c in categories}
    content = {"images": [], "annotations": [], "categories": categories}
    (folder / "images" / "sub").mkdir(parents=True)
    (folder / "panoptic").mkdir()
    for i in range(count):
        pan_seg, segments = draw_scene(rng, categories, size)
        image = rng.integers(0, 60, (*size, 3))
        for segment in segments:
            image[pan_seg == segment["id"]] += palette[segment["category_id"]]
        name = f"sub/picture.{i}.{'png' if i % 2 else 'jpg'}"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        Image.fromarray(id2rgb(pan_seg)).save(folder / "panoptic" / f"truth_{i}.png")
        content["images"].append(
            {"id": f"i{i}", "file_name": name, "height": size[0], "width": size[1]}
        )
        content["annotations"].append(
            {"image_id": f"i{i}", "file_name": f"truth_{i}.png", "segments_info": segments}
        )
    (folder / "panoptic.json").write_text(json.dumps(content))
    return folder


def write_band_dataset(folder: Path, suffix: str = ".npy", count: int = 3) -> Path:
    """As :func:`write_dataset`, with images of five bands of int16; the last knows the classes."""
    write_dataset(folder, count=count)
    content = json.loads((folder / "panoptic.json").read_text())
    for image in content["images"]:
        file = folder / "images" / image["file_name"]
        rgb = np.asarray(Image.open(file)).astype(np.int16)
        bands = np.dstack([20 * rgb, rgb.sum(axis=2), -3 * rgb[:, :, 0]])
        file.unlink()
        image["file_name"] = f"{Path(image['file_name']).stem}{suffix}"
        target = folder / "images" / image["file_name"]
        if suffix == ".npy":
            np.save(target, bands.transpose(2, 0, 1))
        else:
            tifffile.imwrite(target, bands, photometric="minisblack", planarconfig="contig")
    (folder / "panoptic.json").write_text(json.dumps(content))
    return folder


def register_dataset(name: str, folder: Path) -> None:
    """Register what ``write_dataset`` wrote."""
    register_panoptic_dataset(
        name, folder / "images", folder / "panoptic", folder / "panoptic.json"
    )


def unregister(name: str) -> None:
    """Forget a dataset, also those that Detectron2's evaluators derive from it."""
    for derived in ("", "_things", "_sem_seg"):
        if name + derived in DatasetCatalog.list():
            DatasetCatalog.remove(name + derived)
        MetadataCatalog.pop(name + derived, None)
