"""Predictions of videos in the format of VIPSeg."""

from dataclasses import asdict
from pathlib import Path

from efficientps_d2.data.video_panoptic import VideoFrames
from efficientps_d2.prediction.result import Prediction
from efficientps_d2_runtime.coco import Writer


class VideoPanopticWriter(Writer):
    """Writes predictions of videos, in the format of VIPSeg."""

    listed = "videos"

    def __init__(self, folder: Path, categories: list[dict]):
        super().__init__(folder, categories)
        self.frames = VideoFrames(self.pngs, self.content["categories"])
        self.content |= self.frames.content

    def begin(self, video_id: str) -> None:
        """Begin a video, whose PNGs go to ``panoptic/VIDEO_ID/``."""
        self.write_json()  # of the videos before
        self.frames.begin(video_id)

    def add(self, prediction: Prediction) -> None:
        """Write the PNG of the prediction of the next frame."""
        self.frames.add(prediction.panoptic_seg, [asdict(s) for s in prediction.segments])
