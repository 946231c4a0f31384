"""Prediction of files, of a video and of a camera, into files or a window."""

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from efficientps_d2.data.coco_panoptic import categories_of
from efficientps_d2.data.lidar.drawing import Labelled, draw_scan, is_scan
from efficientps_d2.data.videos import UnreadableVideo, VideoWriter, camera_frames, frames_of
from efficientps_d2.prediction.painter import PredictionPainter
from efficientps_d2.prediction.panoptic_writer import VideoPanopticWriter
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2.prediction.tracking import Tracker
from efficientps_d2_runtime.coco import PanopticWriter
from efficientps_d2_runtime.errors import InputError, Stopped
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.paths import (
    OTHER_OUTPUT,
    image_targets,
    make_folder,
    refuse_videos,
    require_display,
    stopped,
    video_targets,
)

WINDOW = "efficientps_d2"
VIDEO_INPUT = "give it by --video-input"


def predict_images(
    predictor: Predictor,
    files: list[Path],
    output: Path | None,
    task: str = "panoptic",
    save_json: bool = False,
) -> int:
    """Predict and draw every image.

    Args:
        files: of :func:`expand`.
        output: a folder, or the file of one result; by default each is shown in a window.
        task: what is drawn; see :class:`PredictionPainter`.
        save_json: also write ``output/panoptic/`` and ``output/panoptic.json``.

    Returns:
        The exit status of a command: 1 if images were skipped.

    Raises:
        InputError: if ``output`` cannot be written.
    """
    targets = image_targets(files, output, save_json) if output else {}
    if task != "panoptic" and (scans := [file for file in files if is_scan(file)]):
        raise InputError(f"--task {task} is not for scans such as {scans[0]}; leave it out.")
    for folder in {target.parent for target in targets.values()}:
        make_folder(folder)
    writing = PanopticWriter(output, categories_of(predictor.metadata)) if save_json else None
    with writing or contextlib.nullcontext():
        done, skipped = _predict_each(predictor, files, targets, output, task, writing)
    if output:
        print(f"Wrote {done} of {len(files)} images to {output}.")
    return int(skipped > 0)


def _predict_each(
    predictor: Predictor,
    files: list[Path],
    targets: dict[Path, Path],
    output: Path | None,
    task: str,
    writing: PanopticWriter | None,
) -> tuple[int, int]:
    """Predict, draw and write or show each file; returns how many were, and were skipped."""
    painter, file, done, skipped = PredictionPainter(predictor.metadata), None, 0, 0
    try:
        for file in tqdm(files, desc="predicting", unit="image", disable=len(files) == 1):
            try:
                refuse_videos([file], VIDEO_INPUT)
                image = predictor.read(file)
            except InputError as error:
                tqdm.write(f"Skipped: {error}", file=sys.stderr)
                skipped += 1
                continue
            prediction = predictor(image, image_format="RGB")
            if is_scan(file):
                segments = [asdict(segment) for segment in prediction.segments]
                found = Labelled("prediction", prediction.panoptic_seg, segments)
                drawn = draw_scan(file, [found], predictor.metadata)
            else:
                drawn = painter.draw(predictor.shown(image), prediction, task)
            tqdm.write(f"{file}: {prediction.summary()}.")
            if output:
                with replacing_file(targets[file], keep_suffix=True) as partial:
                    Image.fromarray(drawn).save(partial, quality=95)
            elif not show(drawn, wait=0):
                break
            if writing:
                writing.add(file, prediction)
            done += 1
    except KeyboardInterrupt as error:
        if not output:
            raise
        raise stopped(done, files, file, output, writing is not None) from error
    return done, skipped


def predict_video(
    predictor: Predictor,
    source: str | None,
    output: Path | None,
    task: str = "panoptic",
    writing: VideoPanopticWriter | None = None,
) -> bool:
    """Predict and draw the frames of a video, or of the first camera if ``source`` is None.

    Args:
        source: a file or an address.
        output: the .mp4 that is written; by default the frames are shown in a window.
        task: what is drawn; see :class:`PredictionPainter`.
        writing: takes the predictions, too, whose ids last through the video.

    Returns:
        Whether it was shown to its end: the user may close the window before.

    Raises:
        UnreadableVideo: if it cannot be read to its end.
        InputError: if ``output`` cannot be written.
    """
    if source and not output:  # before PyAV, as videos.py says
        open_window()
    painter = PredictionPainter(predictor.metadata, video=True)
    tracker = Tracker(len(predictor.metadata.stuff_classes))
    writer = VideoWriter(output) if output else None
    frames = frames_of(source) if source else camera_frames()
    try:
        with contextlib.closing(frames), writer or contextlib.nullcontext():
            for frame in frames:
                prediction = predictor(frame.image, "RGB")
                prediction = tracker.follow(prediction, task in ("instance", "all"))
                drawn = painter.draw(frame.image, prediction, task)
                if writing:
                    writing.add(prediction)
                if writer:
                    writer.write(drawn, frame.time, frame.duration)
                elif not show(drawn, wait=1):
                    return False
    finally:  # also after Ctrl-C the frames so far make a video
        if writer and writer.count:
            print(f"Wrote {output}.")
    return True


def predict_videos(
    predictor: Predictor,
    sources: list[str],
    output: Path | None,
    task: str = "panoptic",
    save_json: bool = False,
) -> int:
    """Predict and draw videos; one that cannot be read to its end is named, and the next begins.

    Args:
        sources: files and addresses.
        output: a folder, or the file of one drawn video; by default they are shown in a window.
        task: what is drawn; see :class:`PredictionPainter`.
        save_json: also write ``output/panoptic/`` and ``output/panoptic.json``.

    Returns:
        The exit status of a command: 1 if videos could not be read to their ends.

    Raises:
        InputError: if a file does not exist or ``output`` cannot be written.
    """
    targets = video_targets(sources, output, save_json)
    for target in targets.values():
        make_folder(target.parent)
    categories, status = categories_of(predictor.metadata), 0
    writing = VideoPanopticWriter(output, categories) if save_json else None
    with writing or contextlib.nullcontext():
        for done, source in enumerate(sources):
            if writing:
                writing.begin(targets[source].stem)
            try:
                if not predict_video(predictor, source, targets.get(source), task, writing):
                    break
            except UnreadableVideo as error:
                print(f"Error: {error}", file=sys.stderr)
                status = 1
            except KeyboardInterrupt as error:
                if not output:
                    raise
                raise Stopped(
                    f"{done} of {len(sources)} videos are done, and of {source} there are the "
                    f"frames so far; each video begins again, so give those from {source} on"
                    f"{OTHER_OUTPUT if save_json else ''}."
                ) from error
    return status


def open_window() -> None:
    """Make the window for :func:`show`."""
    require_display()
    cv2.namedWindow(WINDOW)


def show(image: np.ndarray, wait: int) -> bool:
    """Show an RGB image in a window; returns whether the user wants more."""
    open_window()
    cv2.imshow(WINDOW, image[:, :, ::-1])
    return cv2.waitKey(wait) & 0xFF not in (27, ord("q"))
