"""Time whole predictions of one image by PyTorch and by ONNX files of the same network.

python tools/benchmarks/runtimes.py output/streets/model --size 256 512
python tools/benchmarks/runtimes.py efficientps_cityscapes --size 512 1024

The network is a saved model, or an untrained one of a config, which finds 100 objects. Its ONNX
file is written to --folder, unless one is there. Each runtime has a process of its own with the
same threads, and they take turns: leave the machine alone meanwhile. Times are medians over the
rounds. OpenVINO and 8 bits are measured if that package and NAME_int8.onnx are there.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import peers
from tabulate import tabulate
from turns import in_turns, now, options, show, use
from untrained import save_untrained

from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.data.streets.scene import paint_scene
from efficientps_d2.deploy.whole.file import write_whole
from efficientps_d2.deploy.whole.quantize import eight_bits_file
from efficientps_d2.prediction.exportable import exportable
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2.utils.env import keep_freed_memory
from efficientps_d2_runtime.images import read_rgb
from efficientps_d2_runtime.network import load

EAGER, OPTIMISED = "PyTorch", "PyTorch, optimised"
ONNX, EIGHT_BITS, OPENVINO = "ONNX Runtime", "ONNX Runtime, 8 bits", "OpenVINO"
RUNTIMES = (EAGER, OPTIMISED, ONNX, EIGHT_BITS, OPENVINO)


def saved(model: str, folder: Path) -> Path:
    """The folder of a saved model; of a config, that of an untrained network, made if needed."""
    if Path(model).is_dir():
        return Path(model)
    if not (folder / model).is_dir():
        save_untrained(peers.of_this_project(model), folder / model)
    return folder / model


def exported(model: Path, folder: Path) -> Path:
    """Its ONNX file, written if needed."""
    beside = model / "model.onnx"
    if beside.is_file():
        return beside
    file = folder / f"{model.resolve().as_posix().strip('/').replace('/', '_')}.onnx"
    if not file.is_file():
        cfg, metadata = read_saved_model(model)
        predictor = exportable(cfg, metadata)
        write_whole(predictor.model, predictor.cfg, metadata, file)
    return file


def opened(runtime: str, args: argparse.Namespace) -> Callable[[np.ndarray], int]:
    """From an RGB image to the number of instances."""
    if runtime == OPTIMISED:
        keep_freed_memory()
    if runtime in (EAGER, OPTIMISED):
        predictor = Predictor(*read_saved_model(args.saved), "cpu", runtime == OPTIMISED)
        return lambda image: len(predictor(image, "RGB").instances)
    if runtime == OPENVINO:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": args.threads}
        network = openvino.Core().compile_model(args.onnx, "CPU", settings)
        return lambda image: len(network({"image": image})["scores"])
    file = eight_bits_file(args.onnx) if runtime == EIGHT_BITS else args.onnx
    network = load(file, args.threads)
    return lambda image: len(network(image, "RGB").scores)


def build(runtime: str, args: argparse.Namespace) -> dict[str, float]:
    global _predict, _image
    use("cpu", args.threads)
    image = read_rgb(args.image) if args.image else paint_scene(np.random.default_rng(0))[0]
    _image = cv2.resize(image, args.size[::-1], interpolation=cv2.INTER_AREA)
    _predict = opened(runtime, args)
    _predict(_image)  # warms up
    return {}


def predict() -> dict[str, float]:
    start = now("cpu")
    objects = _predict(_image)
    return {"whole": now("cpu") - start, "objects": objects}


def table(found: dict[str, dict[str, float]]) -> str:
    """One row for each runtime."""
    first = next(iter(found.values()))["whole"]
    rows = [
        [name, f"{x['whole']:.0f}", f"{x['whole'] / first:.2f}", f"{x['memory']:.0f}", x["objects"]]
        for name, x in found.items()
    ]
    header = ["", "ms", "ratio", "MB", "objects"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(argv: list[str] | None = None) -> int:
    parser = options(__doc__, RUNTIMES)
    parser.add_argument("model", help="folder of a saved model, or name of a config")
    parser.add_argument("--image", help="that is resized to --size; default: a painted street")
    parser.add_argument("--folder", type=Path, default=Path("output/runtimes"))
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    args.saved = saved(args.model, args.folder)
    args.onnx = exported(args.saved, args.folder)
    absent = {OPENVINO} if importlib.util.find_spec("openvino") is None else set()
    absent |= set() if eight_bits_file(args.onnx).is_file() else {EIGHT_BITS}
    versions = [f"{name} {version(name)}" for name in ("torch", "onnxruntime")]
    print(f"{args.onnx}, {', '.join(versions)}; not there: {', '.join(absent) or 'nothing'}")
    runtimes = [name for name in args.networks if name not in absent]
    found = in_turns(runtimes, partial(build, args=args), predict, args.rounds, "cpu")
    title = f"{args.model}, {args.size[0]} x {args.size[1]}, {args.threads} threads:"
    show(title, table(found), found, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
