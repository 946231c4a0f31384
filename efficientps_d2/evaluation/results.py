"""What an evaluation leaves: tables for people, and files for the report of a run."""

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.evaluation.testing import flatten_results_dict
from tabulate import tabulate

from efficientps_d2.config.keys import has_semantic_head
from efficientps_d2.data.classes import class_table
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2_runtime.files import replacing_file

logger = logging.getLogger(__name__)

# In the folders of evaluations, after the name of a dataset.
RESULTS, IMAGES, PREDICTIONS = FILES = ("_metrics.json", "_images.jsonl", "_panoptic.json")
FOLDER, FOLDER_TTA, FOLDER_VALIDATION = "inference", "inference_TTA", "validation"
HEADLINE = "panoptic_seg/PQ"
# Metrics of a dataset by the rules of its publishers.
OF_PUBLISHERS = {"pastis": "PASTIS's own", "points": "points'"}
VALIDATION = "validation"  # in metrics.json, before what a training says of validation images


@contextlib.contextmanager
def replacing_results(folder: str | Path, names: Iterable[str]) -> Iterator[None]:
    """Remove at the end what earlier evaluations on datasets left and the block did not replace.

    Until then the earlier results are there, and stay if the block fails.
    """
    files = [Path(folder, f"{name}{suffix}") for name in names for suffix in FILES]
    before = {file: file.stat().st_mtime_ns for file in files if file.exists()}
    yield
    for file, time in before.items():
        if file.stat().st_mtime_ns == time:
            file.unlink()


def write_results(folder: str | Path, name: str, results: dict) -> None:
    """Write the metrics of all tasks on a dataset, and its classes, to ``NAME_metrics.json``."""
    names, thing_ids = class_table(dataset_metadata(name))
    metrics = flatten_results_dict(results)
    content = {"classes": names, "thing_ids": thing_ids, "results": metrics}
    Path(folder).mkdir(parents=True, exist_ok=True)
    with replacing_file(Path(folder, f"{name}{RESULTS}")) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")


def results_table(results: dict, things_only: bool = False) -> str:
    """Panoptic metrics (all, things, stuff), AP and mIoU, as tables for the log and for a file.

    Args:
        results: of each task.
        things_only: of a network that predicts no stuff.
    """
    panoptic = results["panoptic_seg"]
    # Detectron2's own evaluator has only the first three.
    metrics = [m for m in ("PQ", "SQ", "RQ", "PQ_dagger", "PC") if m in panoptic]
    rows = [
        [label, *(panoptic[f"{metric}{suffix}"] for metric in metrics)]
        for label, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st"))
    ]
    rows = rows[1:2] if things_only else rows
    others = []
    for task, label in (("bbox", "box"), ("segm", "mask")):
        if task in results:
            values = results[task]
            others.append([f"{label} AP", values["AP"]])
            others.append([f"{label} AP50", values["AP50"]])
    sem_seg = results.get("sem_seg", {})
    others.append(["mIoU", sem_seg.get("mIoU", sem_seg.get("IoU", float("nan")))])
    for task, label in OF_PUBLISHERS.items():
        if task in results:
            others += [[f"{label} {metric}", value] for metric, value in results[task].items()]
    tables = ((["", *metrics], rows), (["", "%"], others))
    return "\n\n".join(
        tabulate(without_nan(content), header, tablefmt="github", floatfmt=".1f", missingval="–")
        for header, content in tables
    )


def without_nan(rows: list[list]) -> list[list]:
    """Metrics of what did not occur have no value."""
    return [[None if value != value else value for value in row] for row in rows]


def write_tables(cfg: CfgNode, results: dict, file: str) -> None:
    """Log one table of results for each dataset, and write them to a file in ``OUTPUT_DIR``."""
    text = "\n".join(
        f"Results on {name}\n\n{results_table(metrics, not has_semantic_head(cfg))}\n"
        for name, metrics in results.items()
    )
    logger.info("\n%s", text)
    with replacing_file(Path(cfg.OUTPUT_DIR, file)) as partial:
        partial.write_text(text, encoding="utf-8")
