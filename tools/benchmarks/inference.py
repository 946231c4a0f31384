"""Time whole inferences, and their stages, of networks side by side.

python tools/benchmarks/inference.py --size 512 1024

Networks are untrained, of 19 classes, and find as many objects as --detections says, but for
Panoptic-DeepLab, whose objects have no number. Each has a process of its own with the same threads,
and they take turns: leave the machine alone meanwhile. Times are medians over the rounds; memory is
the most that one inference holds besides weights.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import peers
import torch
from detectron2.modeling import build_model
from tabulate import tabulate
from torch import nn
from turns import in_turns, machine_peak, now, options, show, use

from efficientps_d2.deploy.optimize import optimize_for_inference
from efficientps_d2.deploy.size import analyze, count, on_meta
from efficientps_d2.utils.env import keep_freed_memory

NETWORKS = {
    "Panoptic FPN R50": peers.panoptic_fpn,
    "Panoptic FPN R50, optimised": peers.panoptic_fpn,
    "Panoptic-DeepLab R52": peers.panoptic_deeplab,
    "EfficientPS, optimised": partial(peers.of_this_project, "efficientps_cityscapes"),
    "EfficientPS": partial(peers.of_this_project, "efficientps_cityscapes"),
    "EfficientPS, official form": partial(peers.of_this_project, "efficientps_cityscapes_official"),
    "EfficientPS, official form, optimised": partial(
        peers.of_this_project, "efficientps_cityscapes_official"
    ),
}
FIRST = "Panoptic FPN R50"  # that others are compared with
STAGES = {
    "backbone": "backbone.bottom_up",
    "FPN": "backbone",
    "semantic head": "sem_seg_head",
    "RPN": "proposal_generator",
    "RoI heads": "roi_heads",
}
WITHOUT_FPN = {
    "backbone": "backbone",
    "semantic head": "sem_seg_head",
    "RoI heads": "ins_embed_head",
}
REST = "fusion, post-processing"
PRECISIONS = ("float32", "float16", "bfloat16")


class Timed:
    """A network that predicts one image, and how long each part of that took."""

    def __init__(self, name: str, args: argparse.Namespace):
        use(args.device, args.threads)
        torch.manual_seed(0)
        cfg = NETWORKS[name]()
        cfg.MODEL.DEVICE = args.device
        cfg.MODEL.RESNETS.NORM = "BN"  # fixed ones of random networks let numbers explode
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
        cfg.TEST.DETECTIONS_PER_IMAGE = args.detections
        cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.0
        self.cfg, self.device = cfg, args.device
        self.precision = getattr(torch, args.precision)
        height, width = self.size = args.size
        image = torch.randint(0, 255, (3, height, width), dtype=torch.uint8)
        self.inputs = [{"image": image, "height": height, "width": width}]
        self.model = calibrated(build_model(cfg), self.inputs)
        if name.endswith("optimised"):
            keep_freed_memory()
            self.model = optimize_for_inference(self.model, compiled=args.compile)
        self.multiply_adds = self._multiply_adds()
        self.stages = STAGES if hasattr(self.model, "roi_heads") else WITHOUT_FPN
        if args.compile:  # whose parts cannot be told apart
            self.stages = {}
        self.times = {}
        for stage, path in self.stages.items():
            module = self.model.get_submodule(path)
            if hasattr(module, "layers"):  # a semantic head, less the enlargement of its logits
                module.layers = self._timed(stage, module.layers)
            else:
                module.register_forward_pre_hook(partial(self._start, stage))
                module.register_forward_hook(partial(self._stop, stage))

    def _start(self, stage: str, *_) -> None:
        self.times[stage] = -now(self.device)

    def _stop(self, stage: str, *_) -> None:
        self.times[stage] += now(self.device)

    def _timed(self, stage: str, function: Callable) -> Callable:
        def timed(*args):
            self._start(stage)
            result = function(*args)
            self._stop(stage)
            return result

        return timed

    @torch.no_grad()
    def predict(self) -> dict[str, float]:
        """Milliseconds of each stage and of all, and the number of objects."""
        lower = self.precision != torch.float32
        start = now(self.device)
        with torch.autocast(self.device.split(":")[0], self.precision, enabled=lower):
            (output,) = self.model(self.inputs)
        whole = now(self.device) - start
        times = dict(self.times)
        if "FPN" in times:
            times["FPN"] -= times["backbone"]
        objects = len(output["instances"]) if "instances" in output else 0
        return {**times, REST: whole - sum(times.values()), "whole": whole, "objects": objects}

    def _multiply_adds(self) -> float:
        """1e9 of them; of a network whose parts are not timed yet, for it is copied."""
        if hasattr(self.model, "roi_heads"):
            return sum(part[2] for part in analyze(self.model, self.cfg, *self.size)) / 1e9
        model, image = on_meta(self.model), torch.zeros(1, 3, *self.size, device="meta")
        parts = [count(model.backbone, image)]
        features = model.backbone(image)
        parts += [count(head, features) for head in (model.sem_seg_head, model.ins_embed_head)]
        return sum(adds for _, adds in parts) / 1e9


def calibrated(model: nn.Module, inputs: list[dict]) -> nn.Module:
    """The network with norms that fit its features, as in a trained one; ready for inference."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    model.eval()
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        model(inputs)
    return model.eval()


def build(name: str, args: argparse.Namespace) -> dict[str, float]:
    global _timed
    _timed = Timed(name, args)
    _timed.predict()  # warms up
    return {"multiply-adds": _timed.multiply_adds}


def predict() -> dict[str, float]:
    return _timed.predict()


def table(found: dict[str, dict[str, float]], peak_of_machine: float) -> str:
    """One row for each network."""
    first = found.get(FIRST, next(iter(found.values())))["whole"]
    rows = []
    for name, costs in found.items():
        adds = costs["multiply-adds"]
        share = adds / (costs["whole"] / 1000) / peak_of_machine
        parts = [*(costs.get(stage) for stage in (*STAGES, REST)), costs["whole"]]
        numbers = [*parts, costs.get("memory"), adds, 100 * share, costs["objects"]]
        cells = ["" if n is None or np.isnan(n) else f"{n:.0f}" for n in numbers]
        cells.insert(len(parts), f"{costs['whole'] / first:.2f}")
        rows.append([name, *cells])
    header = [
        "",
        *STAGES,
        REST,
        "whole",
        "ratio",
        "MB",
        "1e9 multiply-adds",
        "% of peak",
        "objects",
    ]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(argv: list[str] | None = None) -> int:
    parser = options(__doc__, NETWORKS)
    parser.add_argument("--detections", type=int, default=100, help="objects (default: 100)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of autocast")
    parser.add_argument(
        "--compile", action="store_true", help="compile the dense part of optimised networks"
    )
    args = parser.parse_args(argv)
    at_most, make = machine_peak(args.device, args.threads), partial(build, args=args)
    found = in_turns(args.networks, make, predict, args.rounds, args.device)
    how = f"{args.precision}, compiled" if args.compile else args.precision
    title = (
        f"{args.size[0]} x {args.size[1]}, {args.device}, {args.threads} threads, {how}, "
        f"PyTorch {torch.__version__}, milliseconds; a product of matrices: {at_most:.0f}e9/s"
    )
    show(title, table(found, at_most), {"peak": at_most, "networks": found}, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
