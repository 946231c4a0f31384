"""Show where the time of an evaluation goes.

python tools/benchmarks/evaluation_parts.py output/streets

It evaluates the last weights of a run on its validation images, on the CPU, as train_net.py
--eval-only does, and prints the seconds of loading, of the network, and of each evaluator: with the
images, and at the end.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from tabulate import tabulate
from torch import nn

from efficientps_d2.checkpoint.checkpointer import load_trained_model
from efficientps_d2.config.loading import load_config, without_cuda
from efficientps_d2.data.loaders import build_test_loader
from efficientps_d2.deploy.optimize import optimize_for_inference
from efficientps_d2.evaluation.build import build_panoptic_evaluator
from efficientps_d2.utils.env import keep_freed_memory


class Timed(DatasetEvaluator):
    """An evaluator, and the seconds that it has taken."""

    def __init__(self, evaluator: DatasetEvaluator):
        self.evaluator, self.images, self.end = evaluator, 0.0, 0.0

    @property
    def name(self) -> str:
        return type(self.evaluator).__name__

    def reset(self):
        self.evaluator.reset()

    def process(self, inputs, outputs):
        start = time.perf_counter()
        self.evaluator.process(inputs, outputs)
        self.images += time.perf_counter() - start

    def evaluate(self):
        start = time.perf_counter()
        results = self.evaluator.evaluate()
        self.end += time.perf_counter() - start
        return results


class TimedModel(nn.Module):
    """A network, and the seconds that it has taken."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.seconds = model, 0.0

    def forward(self, inputs):
        start = time.perf_counter()
        outputs = self.model(inputs)
        self.seconds += time.perf_counter() - start
        return outputs


def measure(folder: Path, overrides: list[str]) -> tuple[list[list], dict]:
    """Rows of name, seconds with the images and at the end; and the results."""
    weights = ["MODEL.WEIGHTS", str(folder / "model_final.pth")]
    cfg = without_cuda(load_config(str(folder / "config.yaml"), [*weights, *overrides]))
    keep_freed_memory()
    model = TimedModel(optimize_for_inference(load_trained_model(cfg), masks=True))
    (name, *_) = cfg.DATASETS.TEST
    loader = build_test_loader(cfg, name)
    with tempfile.TemporaryDirectory() as output:
        cfg.OUTPUT_DIR = output
        evaluators = build_panoptic_evaluator(cfg, name, output)
        timed = evaluators._evaluators[:] = [Timed(e) for e in evaluators._evaluators]
        start = time.perf_counter()
        results = inference_on_dataset(model, loader, evaluators)
        whole = time.perf_counter() - start
    rows = [["network", model.seconds, 0.0], *([t.name, t.images, t.end] for t in timed)]
    rest = whole - sum(images + end for _, images, end in rows)
    return [*rows, ["loading, and the rest", rest, 0.0]], results


def table(rows: list[list]) -> str:
    whole = sum(images + end for _, images, end in rows)
    lines = [
        [name, images, end or None, f"{100 * (images + end) / whole:.1f} %"]
        for name, images, end in rows
    ]
    return tabulate(lines, ["", "s with images", "s at the end", "share"], "github", floatfmt=".2f")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of a run, with config.yaml and model_final.pth")
    parser.add_argument("overrides", nargs="*", help="config keys and values")
    args = parser.parse_args(argv)
    rows, results = measure(args.folder, args.overrides)
    print(f"\n{table(rows)}\n\nPQ {results['panoptic_seg']['PQ']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
