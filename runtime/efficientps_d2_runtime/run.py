"""Predict images with a network in one ONNX file, and draw what was found.

efficientps-d2-run model.onnx street.jpg 'more/*.png' --output predicted/

An image that cannot be read is named, and the next one begins; the exit status is then 1.
"""

import argparse
import contextlib
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from efficientps_d2_runtime.coco import PanopticWriter, require_own
from efficientps_d2_runtime.errors import InputError, exit_status
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.images import JPEG_LIMIT
from efficientps_d2_runtime.network import Network, load
from efficientps_d2_runtime.paths import (
    expand,
    image_targets,
    make_folder,
    refuse_videos,
    stopped,
)
from efficientps_d2_runtime.prediction import Prediction

# Ends the line of the progress, in a terminal.
_CLEAR = "\r\x1b[K" if sys.stderr and sys.stderr.isatty() else ""
EVERY = 30  # seconds between lines of the progress, in a file
NO_VIDEOS = "give images, for videos are predicted by efficientps-d2 predict only"


def main(argv: list[str] | None = None) -> int:
    """The command ``efficientps-d2-run``; returns its exit status."""
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # below its limit
    parser = argparse.ArgumentParser(
        "efficientps-d2-run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL.onnx", help="of efficientps-d2 export")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders or patterns")
    parser.add_argument(
        "--output", type=Path, required=True, help="a folder, or the file of one drawing"
    )
    parser.add_argument(
        "--save-json",
        action="store_true",
        help="also write OUTPUT/panoptic/ and OUTPUT/panoptic.json: COCO's panoptic format",
    )
    parser.add_argument(
        "--confidence-threshold",
        type=float,
        metavar="SCORE",
        help="of instances, from 0 to 1; default: that of the file",
    )
    parser.add_argument("--threads", type=int, help="default: one of each core")
    args = parser.parse_args(argv)
    if not 0 <= (args.confidence_threshold or 0) <= 1:
        parser.error("--confidence-threshold must be from 0 to 1")
    if args.threads is not None and args.threads < 1:
        parser.error("--threads must be 1 or more; leave it out for one of each core")
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    files = expand(args.images)
    refuse_videos(files, NO_VIDEOS)
    targets = image_targets(files, args.output, args.save_json)
    if args.save_json:
        require_own(args.output, PanopticWriter.listed)
    network = load(args.model, args.threads or 0)
    print(f"Model: {args.model}, {network}.")
    for folder in {target.parent for target in targets.values()}:
        make_folder(folder)
    writer = PanopticWriter(args.output, network.categories) if args.save_json else None
    with writer or contextlib.nullcontext():
        done = _predict(network, targets, args, writer)
    print(f"Wrote {done} of {len(files)} images to {args.output}.")
    return int(done < len(files))


def _predict(
    network: Network,
    targets: dict[Path, Path],
    args: argparse.Namespace,
    writer: PanopticWriter | None,
) -> int:
    """Predict and draw each file; returns how many could be read."""
    done, file, files = 0, None, list(targets)
    try:
        for file in _progress(files):
            try:
                prediction, drawn = _draw(network, file, targets[file], args.confidence_threshold)
            except InputError as error:
                text = str(error)
                text = text if str(file) in text else f"{file}: {text}"
                print(f"{_CLEAR}Skipped: {text}", file=sys.stderr)
                continue
            with replacing_file(targets[file], keep_suffix=True) as partial:
                drawn.save(partial, quality=95)
            if writer:
                writer.add(file, prediction)
            print(_CLEAR, end="", file=sys.stderr, flush=True)
            print(f"{file}: {prediction.summary()}.", flush=True)
            done += 1
    except KeyboardInterrupt as error:
        raise stopped(done, files, file, args.output, args.save_json) from error
    return done


def _draw(
    network: Network, file: Path, target: Path, threshold: float | None
) -> tuple[Prediction, Image.Image]:
    """Predict a file; the drawing is for ``target``, whose format may not hold it."""
    refuse_videos([file], NO_VIDEOS)
    image = network.read(file)
    prediction = network(image, "RGB", score_threshold=threshold)
    drawn = Image.fromarray(network.draw(image, prediction))
    if max(drawn.size) > JPEG_LIMIT and target.suffix.lower() != ".png":
        raise InputError(f"{file} has a side of more than {JPEG_LIMIT} pixels; cut it.")
    return prediction, drawn


def _progress(files: list[Path]) -> Iterator[Path]:
    """The files; says how many are done and how long the rest takes.

    In a terminal in one line that changes, else in a line now and then.
    """
    start = told = time.monotonic()
    terminal = bool(_CLEAR)
    try:
        for done, file in enumerate(files):
            now = time.monotonic()
            if len(files) > 1 and (terminal or now - told >= EVERY):
                left = round((now - start) / done * (len(files) - done)) if done else 0
                left = f", {left // 60}:{left % 60:02} left" if done else ""
                line = f"{_CLEAR}{done} of {len(files)} images{left}"
                print(line, end="" if terminal else "\n", file=sys.stderr, flush=True)
                told = now
            yield file
    finally:
        if terminal and len(files) > 1:
            print(_CLEAR, end="", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
