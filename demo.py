"""Predict pictures, a video or a camera; flags are those of Detectron2's own demo.

python demo.py --input street.jpg 'more/*.png' --output predicted/
python demo.py --config-file output/mine/config.yaml --input street.jpg --output street.png \\
    --opts MODEL.WEIGHTS output/mine/model_final.pth

Without --config-file and --model it takes the model that `make demo` leaves. Files that cannot be
read are named and skipped; the exit status is then 1.
"""

import argparse
import contextlib
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from detectron2.config import CfgNode  # noqa: E402
from detectron2.data.catalog import Metadata  # noqa: E402
from tqdm import tqdm  # noqa: E402

from efficientps_d2 import InputError, load_config  # noqa: E402
from efficientps_d2.checkpoint.checkpointer import require_weights  # noqa: E402
from efficientps_d2.checkpoint.saved_model import read_saved_model  # noqa: E402
from efficientps_d2.data.coco_panoptic import set_classes  # noqa: E402
from efficientps_d2.data.datasets.register import dataset_metadata  # noqa: E402
from efficientps_d2.data.images import read_rgb  # noqa: E402
from efficientps_d2.prediction.painter import TASKS, PredictionPainter  # noqa: E402
from efficientps_d2.prediction.panoptic_writer import (  # noqa: E402
    PanopticWriter,
    expand,
    make_folder,
    picture_targets,
    video_target,
)
from efficientps_d2.prediction.predictor import Predictor  # noqa: E402
from efficientps_d2.prediction.video import VideoWriter, camera_frames, frames_of  # noqa: E402
from efficientps_d2.utils.errors import exit_status  # noqa: E402

WINDOW = "efficientps_d2"
THRESHOLDS = (
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH",
)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--config-file", metavar="FILE", help="of a run; weights by --opts")
    model.add_argument("--model", type=Path, metavar="DIR", help="a saved model")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="FILE", help="pictures, or patterns of them")
    source.add_argument("--video-input", metavar="FILE")
    source.add_argument("--webcam", action="store_true", help="the first camera; q ends it")
    parser.add_argument(
        "--output", type=Path, help="a folder, or the file of one result; default: show a window"
    )
    parser.add_argument("--task", choices=(*TASKS, "all"), default="panoptic")
    parser.add_argument(
        "--confidence-threshold", type=float, default=0.5, help="of instances; default 0.5"
    )
    parser.add_argument(
        "--save-json",
        action="store_true",
        help="also write OUTPUT/panoptic/ and OUTPUT/panoptic.json in COCO's panoptic format",
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE")
    args = parser.parse_args(argv)
    if args.save_json and not (args.input and args.output):
        parser.error("--save-json needs --input and --output")
    if not 0 <= args.confidence_threshold <= 1:
        parser.error("--confidence-threshold must be from 0 to 1")
    if args.webcam and args.output:
        parser.error("--webcam shows a window and writes nothing; leave --output out")
    return args


def load(args: argparse.Namespace) -> Predictor:
    if len(args.opts) % 2:
        raise InputError(f"--opts {' '.join(args.opts)}: give pairs KEY VALUE.")
    thresholds = [x for key in THRESHOLDS for x in (key, str(args.confidence_threshold))]
    overrides, keys = [*thresholds, *args.opts], args.opts[::2]
    if args.config_file:
        cfg = load_config(args.config_file, overrides)
        require_weights(cfg, args.config_file)
        metadata = metadata_of(cfg)
    elif "MODEL.WEIGHTS" in keys:
        raise InputError("--opts MODEL.WEIGHTS needs --config-file; a saved model has its own.")
    else:
        cfg, metadata, weights = read_saved_model(args.model, overrides)
        cfg.MODEL.WEIGHTS = str(weights)
    return Predictor(cfg, metadata, cfg.MODEL.DEVICE if "MODEL.DEVICE" in keys else "")


def metadata_of(cfg: CfgNode) -> Metadata:
    """Of the data set of a config; if that is not here, names from the config, chosen colours."""
    names, things = cfg.MODEL.EFFICIENTPS.CLASS_NAMES, cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS
    for dataset in cfg.DATASETS.TEST[:1]:
        try:
            metadata = dataset_metadata(dataset)
        except InputError:
            if not names:
                raise
        else:
            if metadata.stuff_classes == names or not names:
                return metadata
    if not names:
        raise InputError("The config names neither classes nor DATASETS.TEST; give a run's config.")
    metadata = Metadata(name="demo")
    categories = [{"id": i, "name": n, "isthing": int(i in things)} for i, n in enumerate(names)]
    set_classes(metadata, categories)
    return metadata


def predict_pictures(args: argparse.Namespace, predictor: Predictor) -> int:
    """Predict and draw every picture; returns the exit status."""
    files = expand(args.input)
    targets = picture_targets(files, args.output, args.save_json) if args.output else {}
    for folder in {target.parent for target in targets.values()}:
        make_folder(folder)
    painter, skipped = PredictionPainter(predictor.metadata), 0
    writing = PanopticWriter(args.output, predictor.metadata) if args.save_json else None
    with writing or contextlib.nullcontext():
        for file in tqdm(files, desc="predicting", unit="picture", disable=len(files) == 1):
            try:
                image = read_rgb(file)
            except InputError as error:
                tqdm.write(f"Skipped: {error}", file=sys.stderr)
                skipped += 1
                continue
            prediction = predictor(image, image_format="RGB")
            drawn = painter.draw(image, prediction, args.task)
            if args.output:
                if not cv2.imwrite(str(targets[file]), drawn[:, :, ::-1]):
                    raise InputError(f"{targets[file]} cannot be written; give another --output.")
            elif not show(drawn, wait=0):
                break
            if writing:
                writing.add(file, prediction)
    if args.output:
        print(f"Wrote {len(files) - skipped} picture(s) to {args.output}; {skipped} skipped.")
    return int(skipped > 0)


def predict_video(args: argparse.Namespace, predictor: Predictor) -> int:
    """Predict and draw the frames of a video or a camera; returns the exit status."""
    name, target = args.video_input, None
    if name and "://" not in name and not os.path.exists(name):
        raise InputError(f"--video-input {name}: there is no such file; correct it.")
    if args.output:
        target = video_target(Path(name), args.output)
        make_folder(target.parent)
    elif name:  # before PyAV, as video.py says
        open_window()
    painter = PredictionPainter(predictor.metadata, video=True)
    writer = VideoWriter(target) if target else None
    frames = camera_frames() if args.webcam else frames_of(name)
    try:
        with contextlib.closing(frames), writer or contextlib.nullcontext():
            for frame in frames:
                drawn = painter.draw(frame.image, predictor(frame.image, "RGB"), args.task)
                if writer:
                    writer.write(drawn, frame.time, frame.duration)
                elif not show(drawn, wait=1):
                    break
    finally:  # also after Ctrl-C the frames so far make a video
        if writer and writer.count:
            print(f"Wrote {target}.")
    return 0


def open_window() -> None:
    if sys.platform == "linux" and not (os.getenv("DISPLAY") or os.getenv("WAYLAND_DISPLAY")):
        raise InputError("There is no display for a window; give --output.")
    cv2.namedWindow(WINDOW)


def show(image: np.ndarray, wait: int) -> bool:
    """Show an RGB image in a window; returns whether the user wants more."""
    open_window()
    cv2.imshow(WINDOW, image[:, :, ::-1])
    return cv2.waitKey(wait) & 0xFF not in (27, ord("q"))


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    predict = predict_pictures if args.input else predict_video
    return exit_status(lambda: predict(args, load(args)))


if __name__ == "__main__":
    sys.exit(main())
