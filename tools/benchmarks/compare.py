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

With "like: OTHER.yaml" it takes what it does not say from another plan beside it.

Each run is a train_net.py of its own with OUTPUT/DATASET/ROW/seedN as its OUTPUT_DIR. What is
finished is not run again, and what was interrupted goes on where it stopped. With --jobs 2 two runs
go side by side, each with its share of the cores.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from tabulate import tabulate
from tqdm import tqdm

ROOT = Path(__file__).parents[2]
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
RUN = "run.json"  # in the folder of a run: config and keys it was made with
INTERRUPTED = 130
OF_ROW = ("config", "weights_of")  # what is no config key


@dataclass
class Run:
    """A training, or an evaluation of another row's weights, and where it goes."""

    dataset: str
    row: str
    seed: int
    folder: Path
    config: str
    keys: dict
    weights_of: Path | None

    def results(self) -> dict | None:
        """The metrics of the last evaluation, None if it has not ended."""
        # An evaluation removes the file when it begins.
        files = list((self.folder / "inference").glob("*_metrics.json"))
        done = files and (self.folder / "results.md").is_file()
        return json.loads(files[0].read_text())["results"] if done else None

    def problem(self) -> str | None:
        """What is wrong with a run that is there already: it was made with other keys."""
        file, keys = self.folder / RUN, {"config": self.config, **self.keys}
        if not file.is_file():
            return None
        made = json.loads(file.read_text())
        other = sorted(key for key in made.keys() | keys if made.get(key) != keys.get(key))
        if not other:
            return None
        return f"{self.folder} was made with another {other[0]}; remove it, or give --output DIR."

    def command(self) -> list[str]:
        """The train_net.py that makes it."""
        keys = {**self.keys, "SEED": self.seed, "OUTPUT_DIR": self.folder}
        flags = ["--resume"]
        if self.weights_of:
            best = self.weights_of / "model_best.pth"
            weights = best if best.is_file() else self.weights_of / "model_final.pth"
            flags, keys["MODEL.WEIGHTS"] = ["--eval-only"], weights
        overrides = [str(text) for pair in keys.items() for text in pair]
        config = ROOT / "configs" / f"{self.config}.yaml"
        script = [sys.executable, str(ROOT / "train_net.py"), "--config-file", str(config)]
        return [*script, *flags, *overrides]


def read_plan(file: Path, seeds: list[int], output: Path) -> list[Run]:
    """All runs of a plan, seed by seed, so that a table of all rows is soon there."""
    plan = yaml.safe_load(file.read_text())
    if "like" in plan:
        plan = {**yaml.safe_load((file.parent / plan["like"]).read_text()), **plan}
    runs = []
    for seed in seeds:
        for dataset, of_dataset in plan["datasets"].items():
            for row, of_row in plan["rows"].items():
                source = of_row.get("weights_of")
                trained = plan["rows"][source] if source else {}
                options = {**plan.get("common", {}), **of_dataset, **trained, **of_row}
                config = options["config"].format(of_dataset.get("config", dataset))
                runs.append(
                    Run(
                        dataset,
                        row,
                        seed,
                        _folder(output, dataset, row, seed),
                        config,
                        {key: value for key, value in options.items() if key not in OF_ROW},
                        _folder(output, dataset, source, seed) if source else None,
                    )
                )
    if len({run.folder for run in runs}) < len(runs):
        raise ValueError("two rows have names of the same letters")
    return runs


def _folder(output: Path, dataset: str, row: str, seed: int) -> Path:
    name = re.sub(r"[^a-z0-9]+", "_", row.lower()).strip("_")
    return output / dataset / name / f"seed{seed}"


def execute(run: Run, threads: int, processes: set[subprocess.Popen]) -> None:
    """Make a run; its output goes to ``OUTPUT_DIR/out.txt``."""
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / RUN).write_text(json.dumps({"config": run.config, **run.keys}))
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
            cells = [_spread([r.get(key, np.nan) for r in found]) for key in METRICS.values()]
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
    try:
        runs = read_plan(args.plan, args.seeds, output)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        sys.exit(f"Error: {args.plan} is no plan ({error!r}); see --help.")
    known = list(dict.fromkeys(run.dataset for run in runs))
    if unknown := set(args.datasets or known) - set(known):
        sys.exit(f"Error: {args.plan} has no dataset {unknown.pop()}; it has {', '.join(known)}.")
    runs = [run for run in runs if run.dataset in (args.datasets or known)]
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
