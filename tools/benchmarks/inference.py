"""Time whole inferences, and their stages, of networks side by side.

python tools/benchmarks/inference.py --size 512 1024

Networks are untrained, of 19 classes, and find as many objects as --detections says. Each has a
process of its own with the same threads, and they take turns: leave the machine alone meanwhile.
Times are medians over the rounds; memory is the most that one inference holds besides weights.
"""

import argparse
import ctypes
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import peers
import torch
from costs import peak
from detectron2.modeling import build_model
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from efficientps_d2.deploy.optimize import keep_freed_memory, optimize_for_inference
from efficientps_d2.deploy.size import analyze

NETWORKS = {
    "Panoptic FPN R50": peers.panoptic_fpn,
    "Panoptic-DeepLab R52": peers.panoptic_deeplab,
    "EfficientPS, optimised": partial(peers.of_this_project, "efficientps_cityscapes"),
    "EfficientPS": partial(peers.of_this_project, "efficientps_cityscapes"),
    "EfficientPS, official form": partial(peers.of_this_project, "efficientps_cityscapes_official"),
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


class Timed:
    """A network that predicts one image, and how long each part of that took."""

    def __init__(self, name: str, args: argparse.Namespace):
        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
        cfg = NETWORKS[name]()
        cfg.MODEL.DEVICE = args.device
        cfg.MODEL.RESNETS.NORM = "BN"  # fixed ones of random networks let numbers explode
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
        cfg.TEST.DETECTIONS_PER_IMAGE = args.detections
        cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.0
        self.cfg, self.device = cfg, args.device
        height, width = self.size = args.size
        image = torch.randint(0, 255, (3, height, width), dtype=torch.uint8)
        self.inputs = [{"image": image, "height": height, "width": width}]
        self.model = calibrated(build_model(cfg), self.inputs)
        if name.endswith("optimised"):
            keep_freed_memory()
            self.model = optimize_for_inference(self.model)
        self.stages = STAGES if hasattr(self.model, "roi_heads") else WITHOUT_FPN
        self.times = {}
        for stage, path in self.stages.items():
            module = self.model.get_submodule(path)
            if hasattr(module, "layers"):  # a semantic head, less the enlargement of its logits
                module.layers = self._timed(stage, module.layers)
            else:
                module.register_forward_pre_hook(partial(self._start, stage))
                module.register_forward_hook(partial(self._stop, stage))

    def _now(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return 1000 * time.perf_counter()

    def _start(self, stage: str, *_) -> None:
        self.times[stage] = -self._now()

    def _stop(self, stage: str, *_) -> None:
        self.times[stage] += self._now()

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
        start = self._now()
        (output,) = self.model(self.inputs)
        whole = self._now() - start
        times = dict(self.times)
        if "FPN" in times:
            times["FPN"] -= times["backbone"]
        objects = len(output["instances"]) if "instances" in output else 0
        return {**times, REST: whole - sum(times.values()), "whole": whole, "objects": objects}

    def multiply_adds(self) -> float:
        """1e9 of them, of what efficientps-d2 size can count."""
        if not hasattr(self.model, "roi_heads"):
            return float("nan")
        return sum(part[2] for part in analyze(self.model, self.cfg, *self.size)) / 1e9


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


def _build(name: str, args: argparse.Namespace) -> float:
    global _timed
    _timed = Timed(name, args)
    _timed.predict()  # warms up
    return _timed.multiply_adds()


def _trim() -> None:
    """Give free memory back to the system, so that the next inference is seen to take it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _predict() -> dict[str, float]:
    return _timed.predict()


def machine_peak(threads: int) -> float:
    """1e9 multiply-adds in a second, of a product of two large matrices."""
    torch.set_num_threads(threads)
    a, times = torch.rand(2048, 2048), []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2048**3 / min(times) / 1e9


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Costs of each network, by its name."""
    context, pools, found = multiprocessing.get_context("spawn"), {}, {}
    for name in tqdm(args.networks, desc="building", unit="network"):
        pools[name] = ProcessPoolExecutor(1, mp_context=context)
        found[name] = {"multiply-adds": pools[name].submit(_build, name, args).result()}
    rounds = {name: [] for name in pools}
    for _ in tqdm(range(args.rounds), desc="timing", unit="round"):
        for name, pool in pools.items():
            rounds[name].append(pool.submit(_predict).result())
    for name, pool in pools.items():
        columns = rounds[name][0]
        found[name] |= {c: float(np.median([r[c] for r in rounds[name]])) for c in columns}
        if args.device == "cpu":
            pool.submit(_trim).result()
            found[name]["memory"] = peak(pool, _predict)
        pool.shutdown()
    return found


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--detections", type=int, default=100, help="objects (default: 100)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args(argv)
    at_most, found = machine_peak(args.threads), measure(args)
    print(f"{args.size[0]} x {args.size[1]}, {args.device}, {args.threads} threads, ", end="")
    print(f"PyTorch {torch.__version__}, milliseconds; a product of matrices: {at_most:.0f}e9/s")
    print(table(found, at_most))
    if args.json:
        args.json.write_text(json.dumps({"peak": at_most, "networks": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
