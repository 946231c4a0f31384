"""Predictions in COCO's panoptic format."""

import json
import re
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.paths import make_folder
from efficientps_d2_runtime.result import PanopticResult

DESCRIPTION = "predicted by efficientps_d2"
PNGS, JSON = "panoptic", "panoptic.json"


def require_own(folder: Path, listed: str) -> None:
    """Refuse a folder with the panoptic.json or panoptic/ of something else.

    Args:
        folder: where predictions are to be written.
        listed: "images" or "videos", which its JSON then lists.

    Raises:
        InputError: if it holds them.
    """
    if ((folder / JSON).exists() or (folder / PNGS).exists()) and not _is_own(folder, listed):
        raise InputError(
            f"{folder} holds {PNGS} or {JSON} that --save-json has not written; give another "
            "--output."
        )


def _is_own(folder: Path, listed: str) -> bool:
    try:
        content = json.loads((folder / JSON).read_text(encoding="utf-8"))
        return content["info"]["description"] == DESCRIPTION and listed in content
    except (OSError, ValueError, LookupError, TypeError):
        return False


def coco_json(listed: str, categories: list[dict]) -> dict:
    """The content of a ``panoptic.json`` without images or videos, which ``listed`` names."""
    info = {"description": DESCRIPTION}
    return {"info": info, listed: [], "annotations": [], "categories": categories}


class Writer:
    """A context that writes ``panoptic/`` and, at its end, ``panoptic.json``."""

    def __init__(self, folder: Path, categories: list[dict]):
        """
        Args:
            folder: made if needed.
            categories: of COCO, in the order of contiguous ids.

        Raises:
            InputError: as of :func:`require_own`.
        """
        require_own(folder, self.listed)
        self.pngs, self.json = folder / PNGS, folder / JSON
        self.content = coco_json(self.listed, categories)

    def __enter__(self):
        if self.json.exists():
            print(f"{self.json} of an earlier command is replaced.")
        make_folder(self.pngs)
        self.write_json()  # marks the folder as ours
        return self

    def __exit__(self, *_):
        self.write_json()

    def write_json(self) -> None:
        """Write what was added so far."""
        with replacing_file(self.json) as partial:
            partial.write_text(json.dumps(self.content), encoding="utf-8")


class PanopticWriter(Writer):
    """Writes predictions of images, in COCO's panoptic format."""

    listed = "images"

    def add(self, file: Path, prediction: PanopticResult) -> None:
        """Write the PNG of the prediction of an image file."""
        height, width = prediction.panoptic_seg.shape
        image = {"id": image_id(file), "file_name": file.name, "height": height, "width": width}
        png = self.pngs / f"{file.stem}.png"
        with replacing_file(png) as partial:
            annotation = save_panoptic(
                partial,
                image["id"],
                prediction.panoptic_seg,
                [asdict(segment) for segment in prediction.segments],
                self.content["categories"],
            )
        annotation["file_name"] = png.name
        self.content["images"].append(image)
        self.content["annotations"].append(annotation)


def image_id(file: Path) -> int | str:
    """The id that COCO, Cityscapes or an import of this project gives to an image file."""
    stem = file.stem.removesuffix("_leftImg8bit")
    return int(stem) if re.fullmatch(r"\d{12}", stem) else stem


def save_panoptic(
    file: Path, image_id, pan_seg: np.ndarray, segments: list[dict], categories: list[dict]
) -> dict:
    """Write a panoptic PNG; returns its annotation for COCO's JSON.

    Args:
        file: the PNG.
        image_id: of the image.
        pan_seg: (H, W) segment ids.
        segments: as for :func:`panoptic_annotation`.
        categories: by contiguous id.
    """
    write_segment_ids(file, pan_seg)
    return panoptic_annotation(file.name, image_id, segments, categories)


def panoptic_annotation(
    file_name: str, image_id, segments: list[dict], categories: list[dict]
) -> dict:
    """The annotation of an image for COCO's JSON.

    Args:
        file_name: of its PNG.
        image_id: of the image.
        segments: ``id`` and ``category_id`` (contiguous) of each; ``area`` and ``score`` are kept.
        categories: by contiguous id.
    """
    kept = [{k: s[k] for k in ("id", "category_id", "area", "score") if k in s} for s in segments]
    for segment in kept:
        segment["category_id"] = categories[segment["category_id"]]["id"]
    return {"image_id": image_id, "file_name": file_name, "segments_info": kept}


def write_segment_ids(file: str | Path | BytesIO, pan_seg: np.ndarray) -> None:
    """Write (H, W) segment ids as a panoptic PNG, whatever the suffix of the file."""
    # The bytes of an id, the lowest first, are red, green, blue and none.
    rgbx = np.ascontiguousarray(pan_seg, dtype="<i4").view(np.uint8).reshape(*pan_seg.shape, 4)
    Image.fromarray(np.ascontiguousarray(rgbx[:, :, :3])).save(file, format="PNG")
