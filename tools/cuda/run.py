"""Check this project on a machine with an NVIDIA GPU, and print tables for docs/PERFORMANCE.md.

make cuda-wheels                             # where there is a network: 6 GB into cuda-wheels/
make cuda                                    # where there is a GPU: less than ten minutes
python tools/cuda/run.py --device cpu --short    # tries the script itself

It needs the dataset streets (efficientps-d2 streets), and no network. Parts: tests (of model,
fusion, test-time augmentation, export and training), training (PQ in each precision), agreement (of
CUDA and the CPU, with the network of training), steps (time and memory of training steps at
1024 x 2048, on images of noise with rectangles), inference (the same of inferences, beside other
networks) and processes (training on several GPUs). A part that fails does not stop the others; the
exit status is then 1, but not for networks that find too little memory. Results go to
OUTPUT/cuda.json and OUTPUT/cuda.md.
"""

import argparse
import datetime
import json
import sys
import time
import traceback
from pathlib import Path

import commands
import torch
from agreement import agreement
from tabulate import tabulate

PARTS = {
    "tests": commands.tests,
    "training": commands.training,
    "agreement": agreement,
    "steps": commands.steps,
    "inference": commands.inference,
    "processes": commands.processes,
}


def run_parts(parts: dict, args: argparse.Namespace) -> bool:
    """Run parts and write their tables after each; returns whether all of them succeeded."""
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    title = f"{device}, PyTorch {torch.__version__}, {datetime.date.today()}"
    found, page, succeeded = {"machine": title}, [title], True
    for name, part in parts.items():
        start = time.perf_counter()
        try:
            rows = part(args)
            succeeded &= not any("error" in row for row in rows)
        except Exception as error:  # the other parts are of use all the same
            traceback.print_exc()
            rows, succeeded = [{"error": str(error) or repr(error)}], False
        found[name] = rows
        table = tabulate(rows, headers="keys", tablefmt="github", floatfmt=".4g")
        page.append(f"## {name}, {time.perf_counter() - start:.0f} s\n\n{table}")
        print(f"\n{page[-1]}", flush=True)
        (args.output / "cuda.json").write_text(json.dumps(found, indent=1))
        (args.output / "cuda.md").write_text("\n\n".join(page) + "\n")
    return succeeded


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("output/cuda"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--short", action="store_true", help="tiny sizes, to try the script")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("Error: PyTorch finds no CUDA device; --device cpu --short tries the script.")
    args.output = args.output.resolve()
    args.output.mkdir(parents=True, exist_ok=True)
    return int(not run_parts({name: PARTS[name] for name in args.parts}, args))


if __name__ == "__main__":
    sys.exit(main())
