"""Train and score several configs on several datasets with several seeds, and print tables.

python tools/benchmarks/compare.py PLAN.yaml --seeds 1 2 3 --jobs 2

A plan names datasets, rows and what they have in common; plans/ has examples:

    common: {TEST.EVAL_PERIOD: 0}           # config keys of all runs
    datasets:
      mine: {DATASETS.TRAIN: "('mine_train',)", DATASETS.TEST: "('mine_val',)", config: custom}
    rows:
      Panoptic FPN: {config: "panoptic_fpn_{}"}  # {} is the config of the dataset
      EfficientPS: {config: "efficientps_{}"}
      EfficientPS, stock merge:
        weights_of: EfficientPS
        MODEL.PANOPTIC_FPN.COMBINE.METHOD: heuristic

A value may be a dictionary of a value for each dataset, such as {streets: 0.002, mine: 0.001}. With
"like: OTHER.yaml" it takes what it does not say from another plan beside it.

Each run is a train_net.py of its own with OUTPUT/DATASET/ROW/seedN as its OUTPUT_DIR. What is
finished is not run again, and what was interrupted goes on where it stopped. With --jobs 2 two runs
go side by side, each with its share of the cores.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from plan import RUN, Run, chosen_runs
from tabulate import tabulate
from tqdm import tqdm

METRICS = {
    "PQ": "panoptic_seg/PQ",
    "SQ": "panoptic_seg/SQ",
    "RQ": "panoptic_seg/RQ",
    "PQ things": "panoptic_seg/PQ_th",
    "PQ stuff": "panoptic_seg/PQ_st",
    "PC": "panoptic_seg/PC",
    "mask AP": "segm/AP",
    "mIoU": "sem_seg/mIoU",
}
NEEDS_STUFF = {"PQ", "SQ", "RQ", "PQ stuff", "PC"}  # without it, these are of nothing comparable
INTERRUPTED = 130


def execute(run: Run, threads: int, processes: set[subprocess.Popen]) -> None:
    """Make a run; its output goes to ``OUTPUT_DIR/out.txt``."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / RUN).write_text(json.dumps(run.values()))
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with open(run.folder / "out.txt", "w") as out:
        process = subprocess.Popen(run.command(), stdout=out, stderr=out, env=env)
        processes.add(process)
        code = process.wait()
        processes.remove(process)
    if code:
        last = (run.folder / "out.txt").read_text().strip().splitlines()[-1:]
        raise RuntimeError(f"{run.folder}: {' '.join(last) or 'no output'}")


def execute_all(runs: list[Run], jobs: int) -> list[str]:
    """Make the runs that have no results; gives what went wrong."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    problems, processes = [], set()
    for phase in (False, True):  # evaluations of the weights of others come after them
        open_runs = [r for r in runs if bool(r.weights_of) == phase and r.results() is None]
        label = "evaluations" if phase else "trainings"
        with (
            ThreadPoolExecutor(jobs) as pool,
            tqdm(total=len(open_runs), desc=label, unit="run", smoothing=0) as bar,
        ):
            try:
                futures = [pool.submit(execute, run, threads, processes) for run in open_runs]
                for future in as_completed(futures):
                    if future.exception():
                        problems.append(str(future.exception()))
                        bar.write(problems[-1])
                    bar.update()
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in processes.copy():  # they save a checkpoint
                    process.send_signal(signal.SIGINT)
                raise
    return problems


@contextmanager
def _sigterm_as_interrupt():
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def tables(runs: list[Run]) -> str:
    """For each dataset, mean and, in brackets, smallest and largest value over the seeds."""
    text = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        lines = []
        for row in dict.fromkeys(run.row for run in runs):
            of_row = [r for r in runs if (r.dataset, r.row) == (dataset, row)]
            found = [results for results in (run.results() for run in of_row) if results]
            whole = all(METRICS["mIoU"] in results for results in found)
            cells = [
                _spread([r.get(key, np.nan) for r in found if whole or name not in NEEDS_STUFF])
                for name, key in METRICS.items()
            ]
            lines.append([row, len(found), *cells])
        body = tabulate(lines, ["", "seeds", *METRICS], tablefmt="github", disable_numparse=True)
        text.append(f"{dataset}\n\n{body}\n")
    return "\n".join(text)


def _spread(values: list[float]) -> str:
    values = [value for value in values if not np.isnan(value)]
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--datasets", nargs="+", help="of the plan (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (default: 1)")
    parser.add_argument("--output", type=Path, help="default: output/PLAN")
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    args = parser.parse_args(argv)
    output = args.output or Path("output") / args.plan.stem
    runs = chosen_runs(args.plan, args.seeds, output, args.datasets)
    if problem := next(filter(None, (run.problem() for run in runs)), None):
        sys.exit(f"Error: {problem}")
    try:
        with _sigterm_as_interrupt():
            problems = [] if args.table else execute_all(runs, args.jobs)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return INTERRUPTED
    text = tables(runs)
    output.mkdir(parents=True, exist_ok=True)
    (output / "table.md").write_text(text)
    print(f"\n{text}\nWrote {output / 'table.md'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
