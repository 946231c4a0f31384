"""Parts of the check that are commands of their own, which a crash does not take along."""

import argparse
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


class Failed(RuntimeError):
    """A command ended with another status than 0."""


def call(*words, **variables: str) -> None:
    """Run a command of this Python.

    Raises:
        Failed: with the end of what it printed.
    """
    command = [sys.executable, *map(str, words)]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )
    if run.returncode:
        lines = (run.stdout + run.stderr).splitlines()
        raise Failed("\n".join([" ".join(command), *lines[-LINES:]]))


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


def inference(args: argparse.Namespace) -> list[dict]:
    """Milliseconds from an image in memory to its panoptic map, by inference.py."""
    size = SHORT_SIZE if args.short else SIZE
    forms = [(precision, False) for precision in precisions(args)]
    forms += [(precisions(args)[-1], True)]
    rows = []
    for precision, is_compiled in forms:
        file = args.output / f"inference_{precision}{'_compiled' * is_compiled}.json"
        words = [ROOT / "tools" / "benchmarks" / "inference.py", "--device", args.device]
        words += ["--size", *size, "--precision", precision, "--json", file]
        words += ["--rounds", 2 if args.short else 9]
        if is_compiled:
            words += ["--compile", "--networks", "EfficientPS, optimised"]
        elif args.short:
            words += ["--networks", "Panoptic FPN R50", "EfficientPS, optimised"]
        call(*words)
        for network, found in json.loads(file.read_text())["networks"].items():
            row = {"network": network, "precision": precision, "compiled": is_compiled}
            rows.append(row | {"ms": found["whole"], "MB": found["memory"]})
    return rows


def precisions(args: argparse.Namespace) -> tuple[str, ...]:
    return ("float32", "float16", "bfloat16") if args.device == "cuda" else ("float32",)


def _train(config: str, keys: dict, *flags) -> None:
    words = [word for pair in keys.items() for word in pair]
    call(ROOT / "train_net.py", "--config-file", config, *flags, *words)
