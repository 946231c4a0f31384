"""Train all networks on all datasets, measure what they cost, and draw where they differ.

python tools/benchmarks/comparison.py --jobs 2

It trains plans/networks.yaml by compare.py, which shows progress and the time left, and goes on
where it was interrupted. Then it measures parameters, multiply-adds, times and memory, one network
after the other in each round: leave the machine alone meanwhile. In OUTPUT are comparison.md with
all tables, costs_DATASET.json and pictures/.
"""

import argparse
import json
import sys
from pathlib import Path

import compare
import torch
from costs import costs
from differences import draw_differences
from plan import Run, chosen_runs
from tabulate import tabulate

from efficientps_d2_runtime.files import replacing_file

PLAN = Path(__file__).parent / "plans" / "networks.yaml"


def finished(runs: list[Run], dataset: str, seed: int) -> dict[str, Path]:
    """The folders of the trainings that have results, by row."""
    return {
        run.row: run.folder
        for run in runs
        if (run.dataset, run.seed) == (dataset, seed) and run.results() and not run.weights_of
    }


def measure(folders: dict[str, Path], file: Path) -> dict[str, dict[str, float]]:
    """The costs of networks; what the file has of the same weights and set-up is kept."""
    weights = {row: (folder / "model_final.pth").stat().st_mtime for row, folder in folders.items()}
    setting = {"PyTorch": torch.__version__, "threads": torch.get_num_threads(), "weights": weights}
    known = json.loads(file.read_text()) if file.is_file() else {}
    if known.get("setting") != setting:
        known = {"setting": setting, "costs": costs(folders)}
        with replacing_file(file) as partial:
            partial.write_text(json.dumps(known, indent=1))
    return known["costs"]


def page(runs: list[Run], output: Path, seed: int, images: int) -> str:
    """All tables and, for each dataset, links to its images."""
    text = [f"Times with {torch.get_num_threads()} threads, PyTorch {torch.__version__}.", ""]
    for dataset in dict.fromkeys(run.dataset for run in runs):
        text.append(compare.tables([run for run in runs if run.dataset == dataset]))
        if not (folders := finished(runs, dataset, seed)):
            continue
        of_rows = measure(folders, output / f"costs_{dataset}.json")
        lines = [{"": row, **values} for row, values in of_rows.items()]
        text += [tabulate(lines, headers="keys", tablefmt="github", floatfmt=".1f"), ""]
        if len(folders) > 1:
            written = draw_differences(folders, images, output / "pictures" / dataset)
            text += [f"![Networks on {f.stem}]({f.relative_to(output)})" for f in written]
        text.append("")
    return "\n".join(text)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--datasets", nargs="+", help="of the plan (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side (default: 1)")
    parser.add_argument("--images", type=int, default=4, help="of each dataset (default: 4)")
    parser.add_argument("--output", type=Path, default=Path("output/comparison"))
    args = parser.parse_args(argv)
    runs = chosen_runs(args.plan, args.seeds, args.output, args.datasets)
    if not all(run.keys.get("TEST.SAVE_PANOPTIC") for run in runs):
        sys.exit(f"Error: {args.plan} must set TEST.SAVE_PANOPTIC True in all rows, for images.")
    options = ["--jobs", str(args.jobs), "--output", str(args.output)]
    if args.datasets:
        options += ["--datasets", *args.datasets]
    status = compare.main([str(args.plan), "--seeds", *map(str, args.seeds), *options])
    if status == compare.INTERRUPTED:
        return status
    try:
        text = page(runs, args.output, args.seeds[0], args.images)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        return compare.INTERRUPTED
    file = args.output / "comparison.md"
    file.write_text(text, encoding="utf-8")
    print(f"\nWrote {file}")
    return status


if __name__ == "__main__":
    sys.exit(main())
