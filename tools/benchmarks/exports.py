"""Export networks of each kind as whole ONNX files, and compare those with PyTorch.

python tools/benchmarks/exports.py
python tools/benchmarks/exports.py --networks B5 "official form"

The networks are untrained, and find up to 100 objects in painted streets. What PyTorch says is the
truth here: PQ 100 means the same segments. How far rounding alone leads says the optimised network,
which is compared in the same way. No file is kept.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import peers
from tabulate import tabulate
from tqdm import tqdm
from untrained import save_untrained

from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.config.loading import without_cuda
from efficientps_d2.data.classes import ClassTable, class_table
from efficientps_d2.deploy.whole.check import box_distances, painted
from efficientps_d2.deploy.whole.file import write_whole
from efficientps_d2.evaluation.panoptic_metrics import PanopticSums, mean_metrics
from efficientps_d2.prediction.exportable import exportable
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2.utils.env import quiet_known_warnings
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.network import load

APART = 0.1  # pixels between boxes that count as the same
SIZES = ((256, 512), (97, 211), (480, 320))
PAPER, SMALL = "efficientps_cityscapes", "efficientps_streets"
BACKBONE = "MODEL.EFFICIENTNET.NAME"
NETWORKS = {
    **{f"B{i}": (PAPER, {BACKBONE: f"tf_efficientnet_b{i}"}) for i in range(8)},
    **{f"Lite{i}": (SMALL, {BACKBONE: f"tf_efficientnet_lite{i}"}) for i in range(5)},
    "Lite0, group norms": (SMALL, {"MODEL.EFFICIENTNET.NORM": "GN"}),
    "official form": ("efficientps_cityscapes_official", {}),
    "ResNet-18 of timm": (SMALL, {BACKBONE: "resnet18"}),
    "MobileNetV3 of timm": (SMALL, {BACKBONE: "mobilenetv3_large_100"}),
    "ConvNeXt of timm": (SMALL, {BACKBONE: "convnext_atto"}),
    "Panoptic FPN": ("panoptic_fpn_streets", {}),
    "METHOD adaptive": (SMALL, {"MODEL.PANOPTIC_FPN.COMBINE.METHOD": "adaptive"}),
}


def export(name: str, folder: Path) -> list:
    """One row of the table."""
    config, options = NETWORKS[name]
    cfg = peers.of_this_project(config)
    cfg.merge_from_list([x for item in options.items() for x in item])
    save_untrained(cfg, folder)
    cfg, metadata = read_saved_model(folder)
    predictor = exportable(cfg, metadata)
    file = folder / "model.onnx"
    write_whole(predictor.model, predictor.cfg, metadata, file)
    network, optimized = load(file), Predictor(without_cuda(cfg), metadata, "cpu")
    images, classes = list(painted(SIZES)), class_table(metadata)
    expected = [predictor(image, "RGB") for image in images]
    found = [network(image, "RGB") for image in images]
    others = [_as_of_file(optimized(image, "RGB")) for image in images]
    return [
        name,
        f"{file.stat().st_size / 1e6:.1f}",
        *compare(list(zip(found, expected, strict=True)), classes),
        *compare(list(zip(others, expected, strict=True)), classes),
    ]


def _as_of_file(prediction):
    """A prediction of PyTorch with the names that one of a file has."""
    boxes, classes = prediction.instances.pred_boxes.tensor, prediction.instances.pred_classes
    return SimpleNamespace(**vars(prediction), boxes=boxes.numpy(), classes=classes.numpy())


def compare(pairs: list[tuple], classes: ClassTable) -> list:
    """What files say against what PyTorch says: PQ, semantic classes and boxes."""
    sums, same, semantic = PanopticSums(len(classes.names)), 0, []
    for found, expected in pairs:
        truth, segments = (
            (x.panoptic_seg, [asdict(segment) for segment in x.segments]) for x in (expected, found)
        )
        sums.add_image(*truth, *segments)
        semantic.append((found.sem_seg == expected.sem_seg).mean())
        nearest = box_distances(found, expected.instances).min(axis=1, initial=np.inf)
        same += int((nearest <= APART).sum())
    pq = mean_metrics(sums, classes.thing_ids)["PQ"]
    count = sum(len(expected.instances) for _, expected in pairs)
    return [f"{pq:.2f}", f"{100 * np.mean(semantic):.3f}", f"{same} of {count}"]


def table(rows: Iterable[list]) -> str:
    header = ["", "MB", "PQ", "% same semantic classes", "boxes in both"]
    header += ["optimised: PQ", "% same", "boxes in both"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    args = parser.parse_args(argv)
    quiet_known_warnings()
    rows, failed = [], False
    for name in tqdm(args.networks, desc="exporting", unit="network"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows.append(export(name, Path(folder) / "model"))
            except InputError as error:
                rows.append([name, str(error)])
                failed = True
        tqdm.write(table(rows[-1:]), file=sys.stderr)
    print(table(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
