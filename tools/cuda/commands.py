"""Parts of the check that are commands of their own, which a crash does not take along."""

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import torch

ROOT = Path(__file__).parents[2]
SIZE, SHORT_SIZE = (1024, 2048), (64, 128)
LINES = 15  # of the output of a command that failed
# Networks of training.py by the images of a step; each takes about ten seconds to start.
STEPS = {
    1: ("EfficientPS",),
    2: (
        "Panoptic FPN R50",
        "EfficientPS",
        "EfficientPS, activation checkpointing",
        "EfficientPS, one image at a time",
    ),
    4: ("EfficientPS",),
}
# Networks of inference.py: all of them.
INFERENCES = (
    "Panoptic FPN R50",
    "Panoptic FPN R50, optimised",
    "Panoptic-DeepLab R52",
    "EfficientPS, optimised",
    "EfficientPS",
    "EfficientPS, official form",
    "EfficientPS, official form, optimised",
)


class Failed(RuntimeError):
    """A command ended with another status than 0; ``output`` is all that it printed."""

    def __init__(self, command: list[str], output: str):
        super().__init__("\n".join([" ".join(command), *output.splitlines()[-LINES:]]))
        self.output = output


def call(*words, **variables: str) -> str:
    """Run a command of this Python; returns what it printed.

    Raises:
        Failed: with the end of that.
    """
    command = [sys.executable, *map(str, words)]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )
    if run.returncode:
        raise Failed(command, run.stdout + run.stderr)
    return run.stdout + run.stderr


def tests(args: argparse.Namespace) -> list[dict]:
    """Those of tests/cuda, on the device."""
    report = args.output / "tests.xml"
    words = ("-m", "pytest", "-n", 4, "tests/cuda", f"--junitxml={report}")
    call(*words, TEST_DEVICE=args.device)
    suite = ElementTree.parse(report).getroot()[0]
    return [{name: int(suite.get(name)) for name in ("tests", "skipped")}]


def training(args: argparse.Namespace) -> list[dict]:
    """PQ of streets after 300 iterations, in each precision."""
    rows = []
    for precision in precisions(args):
        folder = args.output / f"streets_{precision}"
        keys = {"OUTPUT_DIR": folder, "MODEL.DEVICE": args.device, "TEST.EVAL_PERIOD": 0}
        keys |= {"SOLVER.MAX_ITER": 4 if args.short else 300, "SOLVER.WARMUP_ITERS": 2}
        if precision != "float32":
            keys |= {"SOLVER.AMP.ENABLED": True, "SOLVER.AMP.DTYPE": precision}
        _train("efficientps_streets", keys)
        file = folder / "inference" / "streets_val_metrics.json"
        results = json.loads(file.read_text())["results"]
        metrics = {name: results[f"panoptic_seg/{name}"] for name in ("PQ", "PQ_th", "PQ_st")}
        rows.append({"precision": precision, **metrics})
    return rows


def processes(args: argparse.Namespace) -> list[dict]:
    """A training with SyncBN in as many processes as there are GPUs; of two on a CPU."""
    count = torch.cuda.device_count() if args.device == "cuda" else 2
    if count < 2:
        return [{"GPUs": count, "result": "not run: it needs two"}]
    keys = {"OUTPUT_DIR": args.output / "processes", "MODEL.DEVICE": args.device}
    keys |= {"SOLVER.MAX_ITER": 4, "SOLVER.WARMUP_ITERS": 2, "SOLVER.IMS_PER_BATCH": 2 * count}
    if args.device == "cuda":  # of which there is none for the CPU
        keys |= {f"MODEL.{m}.NORM": "SyncBN" for m in ("FPN", "SEM_SEG_HEAD", "ROI_MASK_HEAD")}
    _train("efficientps_streets", keys, "--num-gpus", count)
    return [{"processes": count, "result": "trained and evaluated"}]


def steps(args: argparse.Namespace) -> list[dict]:
    """Milliseconds and memory of training steps on images of noise, by training.py."""
    rows = []
    for precision, batch in itertools.product(precisions(args), (1,) if args.short else STEPS):
        words = ["--batch", batch, "--rounds", 1 if args.short else 3]
        if precision != "float32":
            words += ["--amp", precision]
        about = {"precision": precision, "batch": batch}
        rows += _measure(args, "training.py", STEPS[batch], about, words)
    return rows


def inference(args: argparse.Namespace) -> list[dict]:
    """Milliseconds from an image in memory to its panoptic map, by inference.py."""
    networks = ("Panoptic FPN R50", "EfficientPS, optimised") if args.short else INFERENCES
    forms = [(precision, False, networks) for precision in precisions(args)]
    forms.append((precisions(args)[-1], True, ("EfficientPS, optimised",)))
    rows = []
    for precision, is_compiled, names in forms:
        words = ["--precision", precision, "--rounds", 2 if args.short else 9]
        words += ["--compile"] * is_compiled
        about = {"precision": precision, "compiled": is_compiled}
        rows += _measure(args, "inference.py", names, about, words)
    return rows


def _measure(
    args: argparse.Namespace, tool: str, networks: tuple[str, ...], about: dict, words: list
) -> list[dict]:
    """What a benchmark finds of networks.

    Returns:
        A row for each network, which begins with ``about``. Without numbers it has a ``result`` if
        memory was short, else an ``error``.
    """
    file = args.output / f"{'_'.join(map(str, (Path(tool).stem, *about.values())))}.json"
    file.unlink(missing_ok=True)
    words = [ROOT / "tools" / "benchmarks" / tool, "--device", args.device, "--json", file, *words]
    words += ["--size", *(SHORT_SIZE if args.short else SIZE), "--networks", *networks]
    try:
        output = call(*words)
        found = json.loads(file.read_text())
    except Failed as failure:
        output, found = failure.output, {}
    found = found.get("networks", found)
    rows = []
    for network in networks:
        row = {"network": network, **about}
        if network in found:
            row |= {"ms": found[network]["whole"], "MB": found[network]["memory"]}
        else:
            row |= _reason(network, output)
        rows.append(row)
    return rows


def _reason(network: str, output: str) -> dict:
    """Why a benchmark left out a network, or failed as a whole."""
    lines = output.splitlines() or [""]
    own = [line for line in lines if line.startswith(f"{network} failed: ")]
    reason = (own or lines)[-1].removeprefix(f"{network} failed: ")
    if "out of memory" in reason.lower():
        return {"result": "out of memory"}
    return {"error": reason}


def precisions(args: argparse.Namespace) -> tuple[str, ...]:
    return ("float32", "float16", "bfloat16") if args.device == "cuda" else ("float32",)


def _train(config: str, keys: dict, *flags) -> None:
    words = [word for pair in keys.items() for word in pair]
    call(ROOT / "train_net.py", "--config-file", config, *flags, *words)
