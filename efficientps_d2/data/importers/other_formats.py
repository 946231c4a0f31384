"""What a folder holds instead of the annotations that an importer looks for."""

from collections.abc import Callable
from pathlib import Path

from efficientps_d2.data.text_files import load_json, load_text, load_xml

ONLY_BOXES = (
    "which do not say which pixels belong to an object, so they give no panoptic ground truth; "
    "use them to train or evaluate a detector with Detectron2's own detection configs"
)
OTHER_EXPORT = 'which is not imported; export "Datumaro 1.0" or "CVAT for images 1.1" instead'


def describe(file: Path) -> str | None:
    """What is wrong with a file of a known format, and the cure, or None for all others.

    Raises:
        InputError: if the file is damaged.
    """
    for suffix, is_format, text in FORMATS:
        if file.suffix.lower() == suffix and is_format(file):
            return f"{file} {text}"
    return None


def _is_voc_boxes(file: Path) -> bool:
    root = load_xml(file)
    return root.tag == "annotation" and root.find("object/bndbox") is not None


def _is_labelme_3(file: Path) -> bool:
    root = load_xml(file)
    shapes = (root.find("object/polygon"), root.find("object/segm"))
    return root.tag == "annotation" and any(shape is not None for shape in shapes)


def _is_create_ml(file: Path) -> bool:
    content = load_json(file)
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and isinstance(first.get("annotations"), list)


def _is_coco(file: Path) -> bool:
    content = load_json(file)
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _is_yolo(file: Path) -> bool:
    words = load_text(file).partition("\n")[0].split()
    try:
        return len(words) == 5 and int(words[0]) >= 0 and all(float(w) <= 1 for w in words[1:])
    except ValueError:
        return False


# Suffix, how to recognise the format, and what to tell.
FORMATS: list[tuple[str, Callable[[Path], bool], str]] = [
    (".xml", _is_voc_boxes, f"holds boxes (Pascal VOC), {ONLY_BOXES}"),
    (".json", _is_create_ml, f"holds boxes (CreateML), {ONLY_BOXES}"),
    (".txt", _is_yolo, f"holds boxes (YOLO), {ONLY_BOXES}"),
    (".xml", _is_labelme_3, f'is in the format "LabelMe 3.0", {OTHER_EXPORT}'),
    (".json", _is_coco, f'is in the format "COCO 1.0", {OTHER_EXPORT}'),
]
