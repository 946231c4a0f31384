"""Time training steps, and measure their memory, of networks side by side.

python tools/benchmarks/training.py --size 512 1024 --batch 2

Networks are untrained, of 19 classes; images are noise with --objects rectangles. Each network has
a process of its own with the same threads, and they take turns: leave the machine alone meanwhile.
Times are medians over the rounds; memory is the most that a step holds, gradients included, besides
weights and the optimizer's state.
"""

import argparse
import contextlib
import itertools
import sys
from functools import partial

import numpy as np
import peers
import torch
from detectron2.modeling import build_model
from detectron2.projects.panoptic_deeplab.target_generator import PanopticDeepLabTargetGenerator
from detectron2.structures import BitMasks, Instances
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from turns import in_turns, now, options, show, trim, use

from efficientps_d2.config.loading import without_cuda
from efficientps_d2.engine.optimizer import build_optimizer
from efficientps_d2.engine.step_trainer import StepTrainer
from efficientps_d2.utils.env import keep_freed_memory

STUFF = peers.CLASSES - peers.THINGS
EFFICIENTPS = partial(peers.of_this_project, "efficientps_cityscapes")
CHECKPOINTING = {"SOLVER.ACTIVATION_CHECKPOINTING": True}
# A config, and keys that are changed in it. GRADIENT_ACCUMULATION 0 stands for as many as images.
NETWORKS = {
    "Panoptic FPN R50": (peers.panoptic_fpn, {}),
    "Panoptic-DeepLab R52": (peers.panoptic_deeplab, {}),
    "EfficientPS": (EFFICIENTPS, {}),
    "EfficientPS, norms of the backbone frozen": (
        EFFICIENTPS,
        {"MODEL.EFFICIENTNET.NORM": "FrozenBN"},
    ),
    "EfficientPS, activation checkpointing": (EFFICIENTPS, CHECKPOINTING),
    "EfficientPS, one image at a time": (EFFICIENTPS, {"SOLVER.GRADIENT_ACCUMULATION": 0}),
    "EfficientPS, both": (EFFICIENTPS, {**CHECKPOINTING, "SOLVER.GRADIENT_ACCUMULATION": 0}),
    "EfficientPS, official form": (
        partial(peers.of_this_project, "efficientps_cityscapes_official"),
        {},
    ),
}
WARM_UP = 3  # steps; with float16 its scale falls meanwhile
AMP = ("float16", "bfloat16")
STAGES = ("forward", "backward", "optimizer")
FIRST = "Panoptic FPN R50"  # that others are compared with


def scene(height: int, width: int, objects: int, seed: int) -> dict:
    """An image of noise, with what all networks learn from: bands of stuff behind rectangles."""
    rng = np.random.default_rng(seed)
    panoptic = np.repeat(np.arange(height) * STUFF // height, width).reshape(height, width)
    segments = [{"id": i, "category_id": i, "iscrowd": 0} for i in range(STUFF)]
    for i in range(objects):
        y, x = rng.integers(0, height * 4 // 5), rng.integers(0, width * 4 // 5)
        h, w = rng.integers(height // 32, height // 4, 2)
        panoptic[y : y + h, x : x + w] = STUFF + i
        category = STUFF + i % peers.THINGS
        segments.append({"id": STUFF + i, "category_id": category, "iscrowd": 0})
    things = [s for s in segments[STUFF:] if (panoptic == s["id"]).any()]
    masks = BitMasks(torch.from_numpy(np.stack([panoptic == s["id"] for s in things])))
    instances = Instances((height, width), gt_masks=masks, gt_boxes=masks.get_bounding_boxes())
    instances.gt_classes = torch.tensor([s["category_id"] - STUFF for s in things])
    image = torch.from_numpy(rng.integers(0, 255, (3, height, width), dtype=np.uint8))
    targets = PanopticDeepLabTargetGenerator(255, range(STUFF, peers.CLASSES))(panoptic, segments)
    return {"image": image, "instances": instances, **targets}


class Timed:
    """A network that learns from one batch, again and again."""

    def __init__(self, name: str, args: argparse.Namespace):
        use(args.device, args.threads)
        torch.manual_seed(0)
        make, keys = NETWORKS[name]
        cfg = make()
        cfg = cfg if args.device.startswith("cuda") else without_cuda(cfg)
        cfg.merge_from_list([x for item in keys.items() for x in item])
        cfg.MODEL.DEVICE, self.device = args.device, args.device
        cfg.SOLVER.IMS_PER_BATCH = args.batch
        cfg.SOLVER.GRADIENT_ACCUMULATION = cfg.SOLVER.GRADIENT_ACCUMULATION or args.batch
        cfg.SOLVER.AMP.ENABLED = args.amp is not None
        cfg.SOLVER.AMP.DTYPE = args.amp or cfg.SOLVER.AMP.DTYPE
        cfg.SOLVER.BASE_LR = 1e-6  # noise teaches nothing; numbers must stay finite
        self.model = build_model(cfg)
        batch = [scene(*args.size, args.objects, seed) for seed in range(args.batch)]
        optimizer = build_optimizer(cfg, self.model)
        self.trainer = StepTrainer.of_config(cfg, self.model, itertools.repeat(batch), optimizer)
        self.model.register_forward_pre_hook(partial(self._add, "forward", -1))
        self.model.register_forward_hook(partial(self._add, "forward", 1))
        optimizer.register_step_pre_hook(partial(self._add, "optimizer", -1))
        optimizer.register_step_post_hook(partial(self._add, "optimizer", 1))

    def _add(self, stage: str, sign: int, *_) -> None:
        self.times[stage] += sign * now(self.device)

    def step(self) -> dict[str, float]:
        """Milliseconds of each stage of a step, and of all.

        Raises:
            RuntimeError: if gradients of float16 overflowed, so that the optimizer made no step.
        """
        self.times = dict.fromkeys(("forward", "optimizer"), 0.0)
        self.trainer.iter = 0
        start = now(self.device)
        with EventStorage():
            self.trainer.run_step()
        whole = now(self.device) - start
        self.trainer.optimizer.zero_grad()  # whose memory is that of the next step
        if not self.times["optimizer"]:
            raise RuntimeError("the optimizer made no step")
        return {**self.times, "backward": whole - sum(self.times.values()), "whole": whole}


def _build(name: str, args: argparse.Namespace) -> dict[str, float]:
    global _timed
    if args.device == "cpu":
        keep_freed_memory()  # as train_net.py does
    _timed = Timed(name, args)
    for _ in range(WARM_UP if args.amp else 1):
        with contextlib.suppress(RuntimeError):  # until the scale of float16 fits
            _timed.step()
    trim()
    return {"parameters": sum(p.numel() for p in _timed.model.parameters()) / 1e6}


def _step() -> dict[str, float]:
    """The second of two steps; the first takes again what others had in the meantime."""
    _timed.step()
    found = _timed.step()
    trim()  # so that all networks find room
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """One row for each network, times and memory also as a share of the first's."""
    first, rows = found.get(FIRST, next(iter(found.values()))), []
    for name, costs in found.items():
        row = [name, *(f"{costs[key]:.0f}" for key in (*STAGES, "whole"))]
        row.append(f"{costs['whole'] / first['whole']:.2f}")
        row += [f"{costs['memory']:.0f}", f"{costs['memory'] / first['memory']:.2f}"]
        rows.append([*row, f"{costs['parameters']:.1f}"])
    header = ["", *STAGES, "whole", "ratio", "MB", "ratio", "million parameters"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def main(argv: list[str] | None = None) -> int:
    parser = options(__doc__, NETWORKS)
    parser.add_argument("--batch", type=int, default=2, help="images of a step (default: 2)")
    parser.add_argument("--objects", type=int, default=15, help="in each image (default: 15)")
    parser.add_argument("--amp", choices=AMP, help="mixed precision, on CUDA (default: none)")
    args = parser.parse_args(argv)
    found = in_turns(args.networks, partial(_build, args=args), _step, args.rounds, args.device)
    title = (
        f"{args.batch} images of {args.size[0]} x {args.size[1]}, {args.device}, "
        f"{args.threads} threads, PyTorch {torch.__version__}, {args.amp or 'float32'}, ms"
    )
    show(title, table(found), found, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
