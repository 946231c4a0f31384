"""Small annotations as the tools write them, and what an import makes of them."""

import base64
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from panopticapi.utils import rgb2id
from PIL import Image
from project import call_verb

SIZE = (12, 16)  # height, width


class GroundTruth(NamedTuple):
    """What was written for one image; ``classes`` has "" where there is no ground truth."""

    image: np.ndarray
    file: Path
    ids: np.ndarray
    classes: np.ndarray
    segments: list[dict]

    def objects(self, name: str) -> list[np.ndarray]:
        return [self.ids == s["id"] for s in self.segments if s["name"] == name]


def run(tool: str, source: Path, dest: Path, *flags: str, things="car,person", stuff="road,sky"):
    args = [tool, str(source), str(dest), "--things", things, "--stuff", stuff, *flags]
    call_verb("import", *args)


def import_all(tool: str, source: Path, **classes: str) -> dict[str, GroundTruth]:
    """Import without a val split; the ground truth of each image by its stem."""
    dest = source.parent / "mine"
    run(tool, source, dest, "--split", "1", **classes)
    return read_split(dest / "train")


def read_split(folder: Path) -> dict[str, GroundTruth]:
    content = json.loads((folder / "panoptic.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    gts = {}
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        assert image["id"] == annotation["image_id"]
        file = folder / "images" / image["file_name"]
        ids = rgb2id(np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])))
        assert ids.shape == (image["height"], image["width"])
        classes = np.full(ids.shape, "", dtype="U20")
        for segment in annotation["segments_info"]:
            segment["name"] = names[segment["category_id"]]
            mask = ids == segment["id"]
            classes[mask] = segment["name"]
            ys, xs = np.nonzero(mask)
            assert segment["area"] == len(ys)
            x, y, w, h = segment["bbox"]
            assert (x, y, x + w - 1, y + h - 1) == (xs.min(), ys.min(), xs.max(), ys.max())
        gts[image["id"]] = GroundTruth(
            np.asarray(Image.open(file)), file, ids, classes, annotation["segments_info"]
        )
    return gts


def write_image(file: Path, size=SIZE, **options) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(file.name)).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, **options)
    return pixels


def box(left, top, right, bottom, size=SIZE) -> np.ndarray:
    """(H, W) bool of the pixels in a box, its ends not included."""
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def labelme_shape(label: str, points, shape_type="polygon", group=None, **more) -> dict:
    shape = {"label": label, "points": points, "group_id": group, "shape_type": shape_type}
    return {**shape, "description": "", "flags": {}, "mask": None, **more}


def labelme_mask(label: str, mask: np.ndarray, left: int, top: int, **more) -> dict:
    png = io.BytesIO()
    Image.fromarray(mask).save(png, "PNG")
    corners = [[left, top], [left + mask.shape[1] - 1, top + mask.shape[0] - 1]]
    mask = base64.b64encode(png.getvalue()).decode()
    return labelme_shape(label, corners, "mask", **{"mask": mask, **more})


def rectangle(left, top, right, bottom) -> list:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def write_labelme(source: Path, shapes: list[dict], name="a.jpg", size=SIZE, **changes) -> Path:
    """One image with its JSON beside it; ``changes`` to the JSON's top level."""
    if not (source / name).exists():
        write_image(source / name, size)
    content = {
        "version": "5.8.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(name).name,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
        **changes,
    }
    file = (source / name).with_suffix(".json")
    file.write_text(json.dumps(content))
    return file


ROAD = labelme_shape("road", rectangle(0, 6, 16, 12))
CAR = labelme_shape("car", rectangle(2, 2, 6, 8))


def write_many(source: Path, count: int) -> Path:
    """Images p0.jpg and so on with a road and a car, of labelme."""
    for i in range(count):
        write_labelme(source, [ROAD, CAR], name=f"p{i}.jpg")
    return source


def write_cvat(source: Path, shapes: str, name="a.png", size=SIZE, image=True) -> Path:
    """CVAT for images 1.1, one image; ``shapes`` is the XML inside of it."""
    if image:
        write_image(source / "images" / name, size)
    file = source / "annotations.xml"
    file.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        "<meta><task><labels><label><name>car</name></label></labels></task></meta>\n"
        f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}">\n{shapes}\n</image>\n'
        "</annotations>\n"
    )
    return file


def write_datumaro(source: Path, annotations: list[dict], subset="default", **changes) -> Path:
    """Datumaro 1.0, one item; ``changes`` to that item."""
    write_image(source / "images" / subset / "a.jpg")
    image = {"path": "a.jpg", "size": list(SIZE)}
    item = {"id": "a", "annotations": annotations, "attr": {"frame": 0}, "image": image, **changes}
    labels = [{"name": n, "parent": "", "attributes": []} for n in ("road", "sky", "car", "tree")]
    content = {
        "info": {},
        "categories": {"label": {"labels": labels, "attributes": ["occluded"]}},
        "items": [item],
    }
    file = source / "annotations" / f"{subset}.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    return file


def datumaro_shape(kind: str, label_id: int, z_order=0, group=0, **more) -> dict:
    shape = {"id": 0, "type": kind, "attributes": {"occluded": False}, "group": group}
    return {**shape, "label_id": label_id, "z_order": z_order, **more}


VOC_COLORS = {"background": (0, 0, 0), "road": (128, 0, 0), "sky": (0, 128, 0), "car": (0, 0, 128)}


def write_voc(source: Path, classes: np.ndarray, objects: np.ndarray, palette=False) -> None:
    """CVAT's Segmentation mask 1.1, one image, from (H, W) numbers of colours."""
    source.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in VOC_COLORS.items()]
    (source / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines]))
    write_image(source / "JPEGImages" / "a.jpg", classes.shape)
    colors = np.array([*VOC_COLORS.values(), (224, 224, 192)], dtype=np.uint8)
    for folder, numbers in (("SegmentationClass", classes), ("SegmentationObject", objects)):
        (source / folder).mkdir()
        if palette:
            image = Image.fromarray(numbers.astype(np.uint8), "P")
            image.putpalette(colors.tobytes())
        else:
            image = Image.fromarray(colors[numbers])
        image.save(source / folder / "a.png")


def write_cityscapes(source: Path, ids: np.ndarray, images="leftImg8bit", names=None) -> None:
    """The layout of Cityscapes; ``names`` in the order of the ids makes it CVAT's export."""
    write_image(source / images / "train" / "aachen" / "a_leftImg8bit.png", ids.shape)
    gt = source / "gtFine" / "train" / "aachen" / "a_gtFine_instanceIds.png"
    gt.parent.mkdir(parents=True)
    Image.fromarray(ids.astype(np.uint16)).save(gt)
    if names:
        lines = [f"{i * 9} {i * 5} {i * 3} {name}\n" for i, name in enumerate(names)]
        (source / "label_colors.txt").write_text("".join(lines))
