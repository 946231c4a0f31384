"""Panoptic videos in the format of VIPSeg: COCO's panoptic format, in lists of videos.

``videos`` and ``annotations`` have an entry for each video, with its ``video_id`` and a list of
COCO's entries. Segments of one id are one object in all frames. PNGs are ``VIDEO_ID/FRAME.png``.
"""

from pathlib import Path

import numpy as np

from efficientps_d2.data.coco_panoptic import ANNOTATION_KEYS, require_keys
from efficientps_d2_runtime.coco import save_panoptic


class VideoFrames:
    """Writes the PNGs of videos and collects what the JSON says of them."""

    def __init__(self, folder: Path, categories: list[dict]):
        """
        Args:
            folder: of the PNGs; it has to be there.
            categories: of COCO's format, by contiguous id.
        """
        self.folder, self.categories = folder, categories
        self.content = {"videos": [], "annotations": [], "categories": categories}

    def begin(self, video_id: str) -> None:
        """Begin a video; its folder is made, or emptied of frames."""
        self.folder_of_video, self.images, self.annotations = self.folder / video_id, [], []
        self.folder_of_video.mkdir(exist_ok=True)
        for frame in self.folder_of_video.glob("*.png"):
            frame.unlink()
        for key, name, entries in (
            ("videos", "images", self.images),
            ("annotations", "annotations", self.annotations),
        ):
            self.content[key].append({"video_id": video_id, name: entries})

    def add(self, pan_seg: np.ndarray, segments: list[dict]) -> None:
        """Write the next frame.

        Args:
            pan_seg: (H, W) segment ids that last through the video.
            segments: as for :func:`save_panoptic`.
        """
        height, width = pan_seg.shape
        number = f"{len(self.images):06d}"
        file = self.folder_of_video / f"{number}.png"
        self.annotations.append(save_panoptic(file, number, pan_seg, segments, self.categories))
        image = {"id": number, "file_name": file.name, "height": height, "width": width}
        self.images.append(image)


def annotations_of_frames(videos: list[dict], path: Path) -> list[dict]:
    """COCO's annotations of all frames, in order, with ``video_id`` and the PNG in its folder.

    Args:
        videos: ``annotations`` of a JSON.
        path: of that JSON, for errors.

    Raises:
        InputError: if a video or frame lacks something.
    """
    require_keys(videos, ("video_id", "annotations"), "video", path)
    frames = []
    for video in videos:
        video_id = video["video_id"]
        require_keys(video["annotations"], ANNOTATION_KEYS, f"frame of video {video_id}", path)
        frames += [
            {
                **frame,
                "video_id": video_id,
                "image_id": f"{video_id}/{frame['image_id']}",
                "file_name": f"{video_id}/{frame['file_name']}",
            }
            for frame in video["annotations"]
        ]
    return frames
