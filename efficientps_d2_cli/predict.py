"""Predict images, a video or a camera, and draw what was found.

efficientps-d2 predict street.jpg 'more/*.png' --output predicted/
efficientps-d2 predict --model output/mine/model street.jpg --output street.png
efficientps-d2 predict --model nuclei cells.png --output cells_drawn.png
efficientps-d2 predict --video-input drive.mp4 --output drive_drawn.mp4

Without --config-file and --model it takes the model that `make demo` leaves. What cannot be read
is named, and the next image or video begins; the exit status is then 1. --input, --video-input,
--webcam, --output, --confidence-threshold and --opts are flags of Detectron2's demo.py.
"""

import argparse

from efficientps_d2_cli.options import add_network_flags, add_overrides, path, require_threshold

TASKS = ("panoptic", "instance", "semantic")  # of PredictionPainter, which a test compares
ARRAY_SUFFIXES = (".npy", ".bin")  # of data/bands.py, which a test compares


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--config-file", metavar="FILE", help="of a run; weights by --opts")
    model.add_argument(
        "--model",
        type=path,
        metavar="DIR",
        help="a saved model, or nuclei, which comes along; default: that of make demo",
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="files, folders or patterns")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--input", nargs="+", default=[], metavar="IMAGE", help="same as IMAGE")
    source.add_argument("--video-input", nargs="+", metavar="FILE", help="videos, or addresses")
    source.add_argument("--webcam", action="store_true", help="the first camera; q ends it")
    parser.add_argument(
        "--output", type=path, help="a folder, or the file of one result; default: show a window"
    )
    parser.add_argument("--task", choices=(*TASKS, "all"), default="panoptic")
    add_network_flags(parser)
    parser.add_argument(
        "--save-json",
        action="store_true",
        help="also write OUTPUT/panoptic/ and OUTPUT/panoptic.json: COCO's panoptic format, of "
        "videos that of VIPSeg",
    )
    add_overrides(parser)


def before(args: argparse.Namespace) -> None:
    """Mistakes of flags, images and outputs."""
    files = [*args.images, *args.input]
    if bool(files) + bool(args.video_input) + args.webcam != 1:
        args.parser.error("give either images, --video-input or --webcam")
    if args.save_json and not args.output:
        args.parser.error("--save-json needs --output")
    require_threshold(args)
    if args.webcam and args.output:
        args.parser.error("--webcam shows a window and writes nothing; leave --output out")
    from efficientps_d2_runtime.coco import require_own
    from efficientps_d2_runtime.errors import InputError
    from efficientps_d2_runtime.paths import (
        expand,
        image_targets,
        refuse_videos,
        require_display,
        video_targets,
    )

    args.files = expand(files, ARRAY_SUFFIXES)
    refuse_videos(args.files, "give it by --video-input")
    if files and args.output:
        image_targets(args.files, args.output, args.save_json)
    if args.video_input:
        video_targets(args.video_input, args.output, args.save_json)
    if not (args.output or args.webcam):
        require_display()
    if args.save_json:
        require_own(args.output, "images" if files else "videos")
    if len(args.opts) % 2:
        raise InputError(f"--opts {' '.join(args.opts)}: give pairs KEY VALUE.")


def run(args: argparse.Namespace) -> int:
    from PIL import Image

    from efficientps_d2.prediction.files import predict_images, predict_video, predict_videos
    from efficientps_d2.prediction.predictor import OF_DEMO
    from efficientps_d2.utils.env import keep_freed_memory

    if args.tile:
        Image.MAX_IMAGE_PIXELS = None  # Pillow's, above which an image is taken for an attack
    keep_freed_memory()
    predictor = _predictor(args)
    print(f"Model: {predictor.cfg.MODEL.WEIGHTS}, {predictor}.")
    if not (args.model or args.config_file):
        print(f"{OF_DEMO} --model takes another.")
    if args.files:
        return predict_images(predictor, args.files, args.output, args.task, args.save_json)
    if args.webcam:
        predict_video(predictor, None, None, args.task)
        return 0
    return predict_videos(predictor, args.video_input, args.output, args.task, args.save_json)


def _predictor(args: argparse.Namespace):
    from efficientps_d2.checkpoint.checkpointer import require_weights
    from efficientps_d2.checkpoint.saved_model import metadata_of, read_saved_model
    from efficientps_d2.config.loading import load_config
    from efficientps_d2.prediction.overrides import asks_to_augment, threshold_overrides
    from efficientps_d2.prediction.predictor import Predictor
    from efficientps_d2_runtime.errors import InputError

    overrides, keys = args.opts, args.opts[::2]
    if args.config_file:
        cfg = load_config(args.config_file, overrides)
        require_weights(cfg, args.config_file)
        metadata = metadata_of(cfg)
    else:
        cfg, metadata = read_saved_model(args.model, overrides)
    if args.task == "semantic" and cfg.MODEL.SEM_SEG_HEAD.NAME == "NoSemSegHead":
        raise InputError(
            f"--task semantic: {cfg.MODEL.META_ARCHITECTURE} has no semantic head; give --task "
            "panoptic, instance or all."
        )
    cfg.merge_from_list(threshold_overrides(cfg, args.confidence_threshold, overrides))
    device = cfg.MODEL.DEVICE if "MODEL.DEVICE" in keys else ""
    return Predictor(
        cfg,
        metadata,
        device,
        tile=args.tile,
        precision=args.precision,
        augment=asks_to_augment(cfg, overrides),
    )
