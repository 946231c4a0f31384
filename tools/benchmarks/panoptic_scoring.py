"""Time the panoptic evaluator against panopticapi and, if installed, hotcoco, on one core each.

python tools/benchmarks/panoptic_scoring.py --images 500

Images of 1024 x 2048 with 60 segments; ten are made and used in turn. panopticapi, hotcoco and
efficientps-d2 score read ground truth and prediction from PNG files. The evaluator gets the
prediction from the model, and the ground truth from its PNG or from the loader, which has read and
checked it.
"""

import argparse
import contextlib
import functools
import io
import itertools
import json
import os
import tempfile
import time
import warnings
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"  # of hotcoco
warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from panopticapi.evaluation import pq_compute_single_core  # noqa: E402
from panopticapi.utils import id2rgb  # noqa: E402
from PIL import Image  # noqa: E402
from tabulate import tabulate  # noqa: E402

from efficientps_d2 import register_panoptic_dataset  # noqa: E402
from efficientps_d2.evaluation.panoptic_evaluation import PanopticEvaluator  # noqa: E402
from efficientps_d2.evaluation.panoptic_metrics import mean_metrics  # noqa: E402
from efficientps_d2.evaluation.score_files import score_files  # noqa: E402

HEIGHT, WIDTH, THINGS, STUFF, DISTINCT = 1024, 2048, 49, 11, 10
CATEGORIES = [{"id": i, "name": f"class {i}", "isthing": int(i >= STUFF)} for i in range(STUFF + 8)]


def make_map(rng: np.random.Generator, shift: int) -> tuple[np.ndarray, list[dict]]:
    """Bands of stuff below ellipses, all moved by ``shift`` pixels."""
    ids = np.repeat(np.arange(1, STUFF + 1), -(-HEIGHT // STUFF))[:HEIGHT]
    pan_seg = np.repeat(ids[:, None], WIDTH, axis=1).astype(np.int32)
    classes = {i: i - 1 for i in range(1, STUFF + 1)}
    for i in range(1000, 1000 + THINGS):
        x, y = rng.integers(0, (WIDTH, HEIGHT)).tolist()
        axes = rng.integers(10, 90, 2).tolist()
        cv2.ellipse(pan_seg, (x + shift, y), axes, 0, 0, 360, i, cv2.FILLED)
        classes[i] = STUFF + i % 8
    present, areas = np.unique(pan_seg, return_counts=True)
    segments = [
        {"id": i, "category_id": classes[i], "iscrowd": 0, "area": area, "isthing": i >= 1000}
        for i, area in zip(present.tolist(), areas.tolist(), strict=True)
    ]
    return pan_seg, segments


def write_images(folder: Path, count: int) -> list:
    """Ground truth and predictions in COCO's format; returns the maps of the predictions."""
    contents, maps = {}, []
    for kind, shift in (("ground_truth", 0), ("prediction", 3)):
        (folder / kind).mkdir()
        made = [make_map(np.random.default_rng(i), shift) for i in range(DISTINCT)]
        for i, (pan_seg, _) in enumerate(made):
            Image.fromarray(id2rgb(pan_seg)).save(folder / kind / f"{i}.png")
        annotations = [
            {"image_id": i, "file_name": f"{i % DISTINCT}.png", "segments_info": segments}
            for i, (_, segments) in zip(range(count), itertools.cycle(made))
        ]
        images = [
            {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH}
            for i in range(count)
        ]
        contents[kind] = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (folder / f"{kind}.json").write_text(json.dumps(contents[kind]))
        maps = made
    return maps


@functools.cache
def make_ground_truth(number: int) -> np.ndarray:
    return make_map(np.random.default_rng(number), 0)[0]


def by_panopticapi(folder: Path, maps: list) -> float:
    gt, prediction = (
        json.loads((folder / f"{kind}.json").read_text()) for kind in ("ground_truth", "prediction")
    )
    pairs = list(zip(gt["annotations"], prediction["annotations"], strict=True))
    categories = {category["id"]: category for category in CATEGORIES}
    with contextlib.redirect_stdout(io.StringIO()):
        stat = pq_compute_single_core(
            0, pairs, folder / "ground_truth", folder / "prediction", categories
        )
    return 100 * stat.pq_average(categories, None)[0]["pq"]


def by_files(folder: Path, maps: list) -> float:
    with contextlib.redirect_stderr(io.StringIO()):
        gt, prediction = folder / "ground_truth", folder / "prediction"
        scores = score_files(
            gt.with_suffix(".json"), gt, prediction.with_suffix(".json"), prediction
        )
    return mean_metrics(scores.sums, range(STUFF, STUFF + 8))["PQ"]


def by_evaluator(folder: Path, maps: list, from_loader: bool = True) -> float:
    for i in range(DISTINCT):
        (folder / "ground_truth" / f"{i}.jpg").touch()
    name, gt = f"benchmark_{from_loader}", folder / "ground_truth"
    register_panoptic_dataset(name, str(gt), str(gt), f"{gt}.json")
    evaluator = PanopticEvaluator(name, str(folder / "output"))
    evaluator.reset()
    annotations = json.loads((folder / "ground_truth.json").read_text())["annotations"]
    for i, annotation in enumerate(annotations):
        pan_seg, segments = maps[i % DISTINCT]
        record = {
            "image_id": i,
            "file_name": f"{i}.jpg",
            "pan_seg_file_name": str(folder / "ground_truth" / annotation["file_name"]),
            "segments_info": annotation["segments_info"],
        }
        if from_loader:
            record["pan_seg"] = torch.from_numpy(make_ground_truth(i % DISTINCT))
        evaluator.process([record], [{"panoptic_seg": (torch.from_numpy(pan_seg), segments)}])
    return evaluator.evaluate()["panoptic_seg"]["PQ"]


def by_hotcoco(folder: Path, maps: list) -> float:
    from hotcoco.panoptic import pq_compute

    files = [
        str(folder / f)
        for f in ("ground_truth.json", "prediction.json", "ground_truth", "prediction")
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        return 100 * pq_compute(*files)["All"]["pq"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scorers = {
        "panopticapi, one process": by_panopticapi,
        "efficientps-d2 score, one process": by_files,
        "PanopticEvaluator, ground truth from its PNG": functools.partial(
            by_evaluator, from_loader=False
        ),
        "PanopticEvaluator, ground truth from the loader": by_evaluator,
        "hotcoco, one thread": by_hotcoco,
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        maps = write_images(Path(folder), args.images)
        for name, scorer in scorers.items():
            start = time.perf_counter()
            try:
                pq = scorer(Path(folder), maps)
            except ImportError:
                print("hotcoco is not installed: pip install hotcoco")
                continue
            rows.append([name, 1000 * (time.perf_counter() - start) / args.images, pq])
    for row in rows:
        row.insert(2, rows[0][1] / row[1])
    header = ["", "ms per image", "times faster", "PQ"]
    print(tabulate(rows, header, floatfmt=("", ".0f", ".1f", ".10f")))


if __name__ == "__main__":
    main()
