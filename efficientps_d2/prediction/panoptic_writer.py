"""Predictions in COCO's panoptic format, and those of videos in that of VIPSeg."""

import json
import re
from dataclasses import asdict
from pathlib import Path

from detectron2.data.catalog import Metadata

from efficientps_d2.data.coco_panoptic import categories_of, save_panoptic
from efficientps_d2.data.video_panoptic import VideoFrames
from efficientps_d2.prediction.output_paths import make_folder
from efficientps_d2.prediction.result import Prediction
from efficientps_d2.utils.errors import InputError
from efficientps_d2.utils.files import replacing_file

DESCRIPTION = "predicted by efficientps_d2"


class Writer:
    """A context that writes ``panoptic/`` and, at its end, ``panoptic.json``."""

    def __init__(self, folder: Path, metadata: Metadata):
        """
        Args:
            folder: made if needed.
            metadata: names, colours and dataset ids of the classes.

        Raises:
            InputError: if the folder holds the panoptic.json or panoptic/ of something else.
        """
        self.pngs, self.json = folder / "panoptic", folder / "panoptic.json"
        if (self.json.exists() or self.pngs.exists()) and not self._is_ours():
            raise InputError(
                f"{folder} holds {self.pngs.name} or {self.json.name} that --save-json has not "
                "written; give another --output."
            )
        self.content = {
            "info": {"description": DESCRIPTION},
            self.listed: [],
            "annotations": [],
            "categories": categories_of(metadata),
        }

    def _is_ours(self) -> bool:
        try:
            content = json.loads(self.json.read_text(encoding="utf-8"))
            return content["info"]["description"] == DESCRIPTION and self.listed in content
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def __enter__(self):
        make_folder(self.pngs)
        self._write_json()  # marks the folder as ours
        return self

    def __exit__(self, *_):
        self._write_json()

    def _write_json(self) -> None:
        with replacing_file(self.json) as partial:
            partial.write_text(json.dumps(self.content), encoding="utf-8")


class PanopticWriter(Writer):
    """Writes predictions of images, in COCO's panoptic format."""

    listed = "images"

    def add(self, file: Path, prediction: Prediction) -> None:
        """Write the PNG of the prediction of an image file."""
        height, width = prediction.panoptic_seg.shape
        image = {"id": image_id(file), "file_name": file.name, "height": height, "width": width}
        annotation = save_panoptic(
            self.pngs / f"{file.stem}.png",
            image["id"],
            prediction.panoptic_seg,
            [asdict(segment) for segment in prediction.segments],
            self.content["categories"],
        )
        self.content["images"].append(image)
        self.content["annotations"].append(annotation)


class VideoPanopticWriter(Writer):
    """Writes predictions of videos, in the format of VIPSeg."""

    listed = "videos"

    def __init__(self, folder: Path, metadata: Metadata):
        super().__init__(folder, metadata)
        self.frames = VideoFrames(self.pngs, self.content["categories"])
        self.content |= self.frames.content

    def begin(self, video_id: str) -> None:
        """Begin a video, whose PNGs go to ``panoptic/VIDEO_ID/``."""
        self.frames.begin(video_id)

    def add(self, prediction: Prediction) -> None:
        """Write the PNG of the prediction of the next frame."""
        self.frames.add(prediction.panoptic_seg, [asdict(s) for s in prediction.segments])


def image_id(file: Path) -> int | str:
    """The id that COCO, Cityscapes or an import of this project gives to an image file."""
    stem = file.stem.removesuffix("_leftImg8bit")
    return int(stem) if re.fullmatch(r"\d{12}", stem) else stem
