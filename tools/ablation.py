"""Train and score every row of the ablation with several seeds, and print the table.

OMP_NUM_THREADS=1 python tools/ablation.py streets --seeds 1 2 3
OMP_NUM_THREADS=1 python tools/ablation.py nuclei --seeds 1 2 3

A run takes 12 minutes on one core, so these two can go side by side. What is finished is not run
again, and what was interrupted goes on where it stopped. The last row needs no training: it is the
adaptive fusion on the weights of the row before.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from tabulate import tabulate

ROOT = Path(__file__).parent.parent
ROWS = {
    "ablation_1_panoptic_fpn": "Panoptic FPN",
    "ablation_2_two_way_fpn": "+ 2-way FPN",
    "ablation_3_semantic_head": "+ semantic head",
    "ablation_4_instance_heads": "+ instance heads",
    "ablation_5_adaptive_fusion": "+ adaptive fusion",
}
METRICS = {"PQ": "PQ", "PQ_th": "PQ things", "PQ_st": "PQ stuff"}
# What the configs, which are for streets, need for nuclei; as in configs/efficientps_nuclei.yaml.
NUCLEI = {
    "DATASETS.TRAIN": "('nuclei_train',)",
    "DATASETS.TEST": "('nuclei_val',)",
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": "1000",
    "MODEL.RPN.PRE_NMS_TOPK_TEST": "1000",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "500",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "600",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "128",
    "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT": "256",
    "INPUT.MIN_SIZE_TRAIN": "(512,)",
    "INPUT.MAX_SIZE_TRAIN": "1024",
    "INPUT.MIN_SIZE_TEST": "512",
    "INPUT.MAX_SIZE_TEST": "1024",
    "INPUT.SCALE_JITTER": "(0.7, 1.4)",
    "INPUT.CROP.SIZE": "(320, 320)",
    "INPUT.COLOR_JITTER": "True",
    "SOLVER.FREEZE_BN_ITER": "420",
    "SOLVER.STEPS": "(420, 540)",
    "SOLVER.GAMMA": "0.3",
    "SOLVER.MAX_ITER": "600",
    "TEST.DETECTIONS_PER_IMAGE": "300",
}


def overrides(data: str, row: str) -> list[str]:
    """What a row needs besides its config."""
    if data == "streets":
        return []
    sizes = [12, 24, 48, 96] if row != "ablation_1_panoptic_fpn" else [12, 24, 48, 96, 192]
    anchors = {"MODEL.ANCHOR_GENERATOR.SIZES": str([[size] for size in sizes])}
    return [text for pair in (NUCLEI | anchors).items() for text in pair]


def scores(folder: Path) -> dict | None:
    """The metrics of the last evaluation of a run, None if it has none."""
    file = folder / "metrics.json"
    lines = map(json.loads, file.read_text().splitlines()) if file.is_file() else ()
    evaluations = [line for line in lines if "panoptic_seg/PQ" in line]
    return evaluations[-1] if evaluations else None


def run(data: str, row: str, seed: int, root: Path) -> dict:
    """Train and score a row, unless that is done; returns its metrics."""
    folder = root / row / f"seed{seed}"
    done = scores(folder)
    if done is not None:
        return done
    config = str(ROOT / "configs" / f"{row}.yaml")
    flags, more = ["--resume"], []
    if row == "ablation_5_adaptive_fusion":
        weights = root / "ablation_4_instance_heads" / f"seed{seed}" / "model_final.pth"
        flags, more = ["--eval-only"], ["MODEL.WEIGHTS", str(weights)]
    command = [sys.executable, str(ROOT / "train_net.py"), "--config-file", config, *flags]
    command += [*overrides(data, row), "SEED", str(seed), "OUTPUT_DIR", str(folder), *more]
    print(f"\n{ROWS[row]}, seed {seed}: {folder}", flush=True)
    subprocess.run(command, check=True)
    return scores(folder)


def table(results: dict[str, list[dict]]) -> str:
    """Mean and, in brackets, smallest and largest value over the seeds of each row."""
    rows = []
    for row, runs in results.items():
        cells = [ROWS[row]]
        for metric in METRICS:
            values = [r[f"panoptic_seg/{metric}"] for r in runs]
            cells.append(f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})")
        rows.append(cells)
    return tabulate(rows, ["", *METRICS.values()], tablefmt="github")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", choices=("streets", "nuclei"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path("output/ablation"))
    args = parser.parse_args(argv)
    root = args.output / args.data
    results = {row: [] for row in ROWS}
    try:
        for seed in args.seeds:  # so that a table of all rows is soon there
            for row in ROWS:
                results[row].append(run(args.data, row, seed, root))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)
    text = f"{table(results)}\n"
    (root / "table.md").write_text(text)
    print(f"\n{text}\nWrote {root / 'table.md'}")


if __name__ == "__main__":
    main()
