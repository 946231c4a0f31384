"""How fast predict-batch is beside one process that calls Predictor in a loop, on the same cores.

python tools/benchmarks/batch.py --model output/streets/model
python tools/benchmarks/batch.py --model output/streets/model --images 5000 --size 96 192 --no-loop

Painted streets are linked under many names. Each run of the loop has a quarter of the images; one
comes before the batch and one behind it. Of the batch, the time from the first finished shard to
the last one counts, so neither has its start in it. The memory is that of the worker.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2.data.streets.scene import paint_scene

KINDS = 8  # different images
LOOP = """
import sys, time
from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2.prediction.overrides import threshold_overrides
cfg, metadata = read_saved_model(sys.argv[1])
cfg.merge_from_list(threshold_overrides(cfg, None, []))  # as the batch
predictor = Predictor(cfg, metadata)
files = sys.argv[2:]
for file in files[:3]:
    predictor(file)
start = time.perf_counter()
for file in files:
    predictor(file)
print(len(files) / (time.perf_counter() - start))
"""


def paint(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Images (height, width) with names 000000.png and so on."""
    folder.mkdir()
    files = [folder / f"{number:06d}.png" for number in range(count)]
    for number, file in enumerate(files):
        if number < KINDS:
            image = Image.fromarray(paint_scene(np.random.default_rng(number))[0])
            image.resize(size[::-1], Image.Resampling.BICUBIC).save(file)
        else:
            os.link(files[number % KINDS], file)
    return files


def loop(model: str, files: list[Path]) -> float:
    """Images a second."""
    command = [sys.executable, "-c", LOOP, model, *map(str, files)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def batch(model: str, images: Path, output: Path) -> tuple[float, list[float]]:
    """Images a second, and megabytes of the worker now and then."""
    command = [sys.executable, "-m", "efficientps_d2", "predict-batch", "--input", str(images)]
    process = subprocess.Popen([*command, "--output", str(output), "--model", model])
    megabytes = []
    while process.poll() is None:
        time.sleep(1)
        if any((output / "segments").glob("*.parquet")):
            megabytes.append(worker_megabytes())
    if process.returncode:
        sys.exit(f"Error: predict-batch ended with {process.returncode}.")
    times = sorted(file.stat().st_mtime for file in (output / "segments").iterdir())
    count = len(list(images.iterdir()))
    shards = len(times)
    return count * (shards - 1) / shards / (times[-1] - times[0]), megabytes


def worker_megabytes() -> float:
    """Memory of all workers (Linux)."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"MapWorker" in (process / "cmdline").read_bytes():
                total += int((process / "statm").read_text().split()[1])
        except OSError:
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), help="height and width")
    parser.add_argument("--no-loop", action="store_true", help="the batch alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = paint(Path(folder, "images"), args.images, tuple(args.size))
        part = files[: len(files) // 4]
        rates = [] if args.no_loop else [loop(args.model, part)]
        rate, megabytes = batch(args.model, Path(folder, "images"), Path(folder, "output"))
        if rates:
            rates.append(loop(args.model, part))
            alone = sum(rates) / 2
            print(f"loop: {rates[0]:.2f} and {rates[1]:.2f} images a second")
            print(f"overhead of the batch: {100 * (alone / rate - 1):.1f} %")
    quarter = max(1, len(megabytes) // 4)
    first, last = megabytes[:quarter], megabytes[-quarter:]
    print(f"batch: {rate:.2f} images a second")
    print(
        f"worker, mean of the first and the last quarter: {sum(first) / len(first):.0f} and "
        f"{sum(last) / len(last):.0f} MB"
    )


if __name__ == "__main__":
    main()
