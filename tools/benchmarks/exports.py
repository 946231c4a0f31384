"""Export networks of each kind as whole ONNX files, and compare those with PyTorch.

python tools/benchmarks/exports.py
python tools/benchmarks/exports.py --networks B5 "official form"

The networks are untrained, and find up to 100 objects in painted streets. No file is kept.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import peers
from tabulate import tabulate
from tqdm import tqdm
from untrained import save_untrained

from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.config.loading import without_cuda
from efficientps_d2.deploy.whole.check import check_whole, share_of_pixels
from efficientps_d2.deploy.whole.file import write_whole
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2.utils.env import quiet_known_warnings

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
    predictor = Predictor(without_cuda(cfg), metadata, "cpu", optimize=False)
    file = folder / "model.onnx"
    write_whole(predictor.model, predictor.cfg, metadata, file)
    found = check_whole(file, lambda image: predictor(image, "RGB"), SIZES)
    return [
        name,
        f"{file.stat().st_size / 1e6:.1f}",
        f"{100 * share_of_pixels(found):.4f}",
        f"{sum(a.same_segments for a in found)} of {len(found)}",
        sum(a.segments for a in found),
        sum(a.instances for a in found),
        f"{max(a.boxes for a in found):.1e}",
    ]


def table(rows: Iterable[list]) -> str:
    header = ["", "MB", "% same pixels", "same segments"]
    header += ["segments", "instances", "boxes apart, px"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    args = parser.parse_args(argv)
    quiet_known_warnings()
    rows = []
    for name in tqdm(args.networks, desc="exporting", unit="network"):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(export(name, Path(folder) / "model"))
        tqdm.write(table(rows[-1:]), file=sys.stderr)
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
