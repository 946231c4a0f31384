"""How time and memory of an inference grow with image, detections and classes; draws curves.

python tools/benchmarks/growth.py --output output/growth

The network is efficientps_cityscapes.yaml, untrained and optimised. One of the three varies, the
others stay at 512 x 1024, 100 and 19. Each point has a process of its own: leave the machine alone
meanwhile. Points that OUTPUT/growth.json has are not measured again.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import inference
import peers
import torch
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm
from turns import in_turns

from efficientps_d2_runtime.files import replacing_file

NAME = "EfficientPS, optimised"
USUAL = {"size": (512, 1024), "detections": 100, "classes": 19}
SIZES = [(side, 2 * side) for side in (352, 512, 704, 1024, 1408, 2048, 2816)]  # 0.25 to 16 MP
VARIED = {
    "size": SIZES,
    "detections": [0, 25, 50, 100, 200, 350, 500],
    "classes": [19, 38, 75, 150],
}
LABELS = {"size": "megapixels", "detections": "detections", "classes": "classes"}
PARTS = (*inference.STAGES, inference.REST)


def points() -> dict[str, dict]:
    """The settings of all points, by a name such as "detections 25"."""
    return {
        f"{what} {value}": {**USUAL, what: value}
        for what, values in VARIED.items()
        for value in values
    }


def _build(name: str, args: argparse.Namespace) -> dict[str, float]:
    config = partial(peers.of_this_project, "efficientps_cityscapes", args.classes)
    inference.NETWORKS[NAME] = config
    return inference.build(NAME, args)


def measure(point: dict, rounds: int, threads: int) -> dict[str, float]:
    """Milliseconds of the parts, and megabytes, of one point."""
    args = argparse.Namespace(
        **point, device="cpu", threads=threads, precision="float32", compile=False
    )
    build = partial(_build, args=args)
    return in_turns([NAME], build, inference.predict, rounds, "cpu")[NAME]


def x_of(what: str, value) -> float:
    """Where a value lies on its axis."""
    return value[0] * value[1] / 1e6 if what == "size" else value


def curves(found: dict[str, dict[str, float]]) -> Figure:
    """Time of the parts and of all above, memory below, for each of the three."""
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    axes = figure.subplots(2, len(VARIED))
    for column, (what, values) in zip(axes.T, VARIED.items(), strict=True):
        measured = [(x_of(what, v), found[f"{what} {v}"]) for v in values]
        x = [position for position, _ in measured]
        for part in PARTS:
            column[0].plot(x, [m[part] / 1000 for _, m in measured], marker=".", label=part)
        column[0].plot(x, [m["whole"] / 1000 for _, m in measured], "k.-", label="whole")
        column[1].plot(x, [m["memory"] / 1024 for _, m in measured], "k.-")
        column[1].set_xlabel(LABELS[what])
        for axis, label in zip(column, ("seconds", "GB"), strict=True):
            axis.set_ylim(bottom=0)
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    return figure


def table(found: dict[str, dict[str, float]]) -> str:
    rows = [
        [name, *(f"{costs[part]:.0f}" for part in (*PARTS, "whole", "memory"))]
        for name, costs in found.items()
    ]
    header = ["", *PARTS, "whole", "MB"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("output/growth"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    file = args.output / "growth.json"
    how = {"threads": args.threads, "rounds": args.rounds, "PyTorch": str(torch.__version__)}
    content = json.loads(file.read_text()) if file.is_file() else {"how": how, "points": {}}
    if content["how"] != how:
        parser.error(f"{file} was measured with {content['how']}; give another --output")
    found = content["points"]
    for name, point in tqdm(points().items(), desc="points", unit="point"):
        if name not in found:
            found[name] = measure(point, args.rounds, args.threads)
            with replacing_file(file) as partial_file:
                partial_file.write_text(json.dumps(content, indent=1))
    curves(found).savefig(args.output / "growth.png", dpi=110)
    print(f"{args.threads} threads, PyTorch {torch.__version__}, milliseconds")
    print(table({name: found[name] for name in points()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
