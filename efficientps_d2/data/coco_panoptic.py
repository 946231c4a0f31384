"""COCO's panoptic format: from its JSON to Detectron2's metadata and records."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from detectron2.data import detection_utils as utils
from detectron2.data.catalog import Metadata
from detectron2.utils.colormap import colormap
from panopticapi.utils import rgb2id

from efficientps_d2.data.coco_fields import (
    COLOR_CURE,
    Files,
    is_inside,
    read_colors,
    understand,
)
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import refuse_pipes

IGNORE_LABEL = 255
ANNOTATION_KEYS = ("image_id", "file_name", "segments_info")
# Of the keys that are needed; JSON's true and false count as 1 and 0.
TYPES = {
    "id": (int, str),
    "image_id": (int, str),
    "video_id": (int, str),
    "category_id": (int, str),
    "isthing": int,
    "name": str,
    "file_name": str,
    "segments_info": list,
    "annotations": list,
}


def read_json(path: str | Path, keys=("images", "annotations", "categories")) -> dict:
    """The content of a panoptic JSON that has lists under ``keys``, as :func:`understand` does."""
    try:
        refuse_pipes(path)
        with open(path, encoding="utf-8-sig") as f:  # some editors put a mark before it
            content = json.load(f)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the path of a panoptic JSON.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); it must be a file.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); write it again.") from error
    for key in keys:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(f'{path} has no list "{key}"; it must be in COCO\'s panoptic format.')
    understand(content)
    return content


def read_segment_ids(file: str) -> np.ndarray:
    """(H, W) int32 segment ids of a panoptic PNG."""
    return rgb2id(utils.read_image(file, format="RGB"))


def true_segment_ids(record: dict) -> np.ndarray:
    """(H, W) segment ids of a record's ground truth, from its PNG unless the mapper has read it."""
    if "pan_seg" in record:
        return record["pan_seg"].numpy()
    return read_segment_ids(record["pan_seg_file_name"])


def set_classes(metadata: Metadata, categories: list[dict], path: str = "") -> None:
    """Set names, colours and id tables; contiguous ids follow the order of ``categories``."""
    require_keys(categories, ("id", "name", "isthing"), "category", path)
    ids = [category["id"] for category in categories]
    odd = [category for category in categories if category["isthing"] not in (0, 1)]
    if odd:
        shown = f'class "{odd[0]["name"]}" has the isthing {odd[0]["isthing"]}'
        raise InputError(f"{path}: {shown}; write 1 for a thing and 0 for stuff.")
    if len(set(ids)) < len(ids) or not 0 < len(ids) < IGNORE_LABEL:
        raise InputError(
            f"{path} lists {len(set(ids))} different ids for {len(ids)} categories; give 1 to "
            f"{IGNORE_LABEL - 1} categories, each with an id of its own."
        )
    names = [category["name"] for category in categories]
    colors = _colors(categories, path)
    contiguous = {id_: i for i, id_ in enumerate(ids)}
    metadata.set(
        thing_classes=names,
        stuff_classes=names,
        thing_colors=colors,
        stuff_colors=colors,
        thing_dataset_id_to_contiguous_id={
            c["id"]: contiguous[c["id"]] for c in categories if c["isthing"]
        },
        # As in Detectron2's COCO metadata this table holds the things too.
        stuff_dataset_id_to_contiguous_id=contiguous,
    )


def _colors(categories: list[dict], path: str) -> list[list[int]]:
    """Red, green and blue of each class, from a palette where it has none."""
    palette = colormap(rgb=True).astype(int).tolist()
    given = [category.get("color") for category in categories]
    colors = read_colors(given)
    for i, category in enumerate(categories):
        if given[i] and colors[i] is None:
            name, shown = category["name"], repr(given[i])[:80]
            raise InputError(f'{path}: class "{name}" has the color {shown}; {COLOR_CURE}.')
    return [color or palette[i % len(palette)] for i, color in enumerate(colors)]


def categories_of(metadata: Metadata) -> list[dict]:
    """COCO's categories in the order of contiguous ids: the reverse of :func:`set_classes`."""
    dataset_ids = {v: k for k, v in metadata.stuff_dataset_id_to_contiguous_id.items()}
    things = metadata.thing_dataset_id_to_contiguous_id
    dataset_ids |= {v: k for k, v in things.items()}
    return [
        {
            "id": dataset_ids[i],
            "name": name,
            "isthing": int(dataset_ids[i] in things),
            "color": list(map(int, metadata.stuff_colors[i])),
        }
        for i, name in enumerate(metadata.stuff_classes)
    ]


def make_records(
    content: dict, metadata: Metadata, image_file: Callable[[dict], str]
) -> list[dict]:
    """Detectron2's standard dicts; ``category_id`` of the segments becomes contiguous."""
    path = metadata.panoptic_json
    require_keys(content["images"], ("id", "file_name"), "image", path)
    require_keys(content["annotations"], ANNOTATION_KEYS, "annotation", path)
    images = {image["id"]: image for image in content["images"]}
    stems = {Path(image_file(image)).stem for image in images.values()}
    if len(stems) < len(content["images"]):
        raise InputError(
            f"{path} lists two images with the same id or file name; panoptic evaluation needs "
            "different names, without regard to folder and suffix."
        )
    image_files, panoptic_files = Files(metadata.image_root), Files(metadata.panoptic_root)
    records = []
    for annotation in content["annotations"]:
        image = images.get(annotation["image_id"])
        if image is None:
            raise InputError(
                f"{path} annotates image {annotation['image_id']!r}, which its images do not list."
            )
        file_name = image_files.find(image_file(image))
        pan_seg_file_name = panoptic_files.find(annotation["file_name"])
        for file in (file_name, pan_seg_file_name):
            if not is_inside(file, metadata.image_root, metadata.panoptic_root):
                raise InputError(
                    f"{path} names {file}, which is outside the dataset; put it into its folder."
                )
            if not os.path.isfile(file):
                problem = "is no file" if os.path.exists(file) else "does not exist"
                raise InputError(f"{path} names {file}, which {problem}; add it.")
        records.append(
            {
                "file_name": file_name,
                "image_id": image["id"],
                **{key: image[key] for key in ("height", "width") if key in image},
                "pan_seg_file_name": pan_seg_file_name,
                "segments_info": _contiguous_segments(
                    annotation["segments_info"], metadata, pan_seg_file_name
                ),
            }
        )
    if not records:
        raise InputError(f"{path} has no annotations; a dataset needs at least one image.")
    return records


def _contiguous_segments(segments: list[dict], metadata: Metadata, file: str) -> list[dict]:
    require_keys(segments, ("id", "category_id"), f"segment of {file}", metadata.panoptic_json)
    table = metadata.stuff_dataset_id_to_contiguous_id
    things = metadata.thing_dataset_id_to_contiguous_id
    odd = [s for s in segments if s.get("iscrowd") not in (None, 0, 1)]
    if odd:  # "no" would be taken as a crowd
        raise InputError(
            f"{metadata.panoptic_json}: segment {odd[0]['id']} of {file} has the iscrowd "
            f"{odd[0]['iscrowd']!r:.80}; write 0 or 1."
        )
    unknown = [s for s in segments if s["category_id"] not in table]
    if unknown:
        raise InputError(
            f"{metadata.panoptic_json}: segment {unknown[0]['id']} of {file} has the category "
            f"{unknown[0]['category_id']}, which the categories do not list."
        )
    return [
        {**s, "category_id": table[s["category_id"]], "isthing": s["category_id"] in things}
        for s in segments
    ]


def require_keys(items: list[dict], keys: tuple[str, ...], what: str, path: str) -> None:
    """Fail unless every item has these keys, with values of the right type."""
    for item in items:
        if not isinstance(item, dict):
            raise InputError(f"{path}: {what} {item!r:.80} is no JSON object; write it again.")
        for key in keys:
            value = item.get(key)
            if not isinstance(value, TYPES[key]) or value == "":
                shown = {k: v for k, v in item.items() if k not in (key, "segments_info")}
                problem = f'has "{key}" {value!r:.80}' if key in item else f'has no "{key}"'
                raise InputError(f"{path}: {what} {shown} {problem}; correct it.")
