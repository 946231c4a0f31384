"""Predictions as files in COCO's panoptic format."""

import json
import re
from dataclasses import asdict
from pathlib import Path

from detectron2.data.catalog import Metadata

from .panoptic_json import categories_of, save_panoptic
from .predictor import Prediction


class PanopticWriter:
    """A context that writes ``panoptic/*.png``, and at its end ``panoptic.json`` of all of them."""

    def __init__(self, folder: Path, metadata: Metadata):
        """
        Args:
            folder: made if needed.
            metadata: names, colours and dataset ids of the classes.
        """
        self.folder = folder
        self.content = {"images": [], "annotations": [], "categories": categories_of(metadata)}

    def __enter__(self):
        (self.folder / "panoptic").mkdir(parents=True, exist_ok=True)
        return self

    def add(self, file: Path, prediction: Prediction) -> None:
        """Write the PNG of the prediction of an image file."""
        height, width = prediction.panoptic_seg.shape
        image = {"id": image_id(file), "file_name": file.name, "height": height, "width": width}
        annotation = save_panoptic(
            self.folder / "panoptic" / f"{file.stem}.png",
            image["id"],
            prediction.panoptic_seg,
            [asdict(segment) for segment in prediction.segments],
            self.content["categories"],
        )
        self.content["images"].append(image)
        self.content["annotations"].append(annotation)

    def __exit__(self, *_):
        text = json.dumps(self.content)
        (self.folder / "panoptic.json").write_text(text, encoding="utf-8")


def image_id(file: Path) -> int | str:
    """The id that COCO, Cityscapes or an import of this project gives to an image file."""
    stem = file.stem.removesuffix("_leftImg8bit")
    return int(stem) if re.fullmatch(r"\d{12}", stem) else stem
