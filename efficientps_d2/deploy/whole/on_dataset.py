"""A network and files of it on the images of a dataset, with ground truth."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from detectron2.data import DatasetCatalog
from tabulate import tabulate
from tqdm import tqdm

from efficientps_d2.data.classes import ClassTable, class_table
from efficientps_d2.data.coco_panoptic import true_segment_ids
from efficientps_d2.data.datasets.register import check_dataset_files, dataset_metadata
from efficientps_d2.evaluation.panoptic_metrics import GROUPS, PanopticSums, mean_metrics
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import read_rgb
from efficientps_d2_runtime.result import PanopticResult, listed

SAME = 0.1  # PQ, of a network and its file
Predict = Callable[[np.ndarray], PanopticResult]  # from an (H, W, 3) uint8 RGB image


class Score(NamedTuple):
    """PQ of all classes, things and stuff, in percent, and the median milliseconds of an image."""

    pq: dict[str, float]
    milliseconds: float


def records_of(dataset: str, classes: ClassTable) -> list[dict]:
    """Detectron2's dicts of a registered dataset.

    Args:
        dataset: its name.
        classes: of the network.

    Raises:
        InputError: if there is no such dataset, or it has other classes.
    """
    check_dataset_files(dataset)
    found = class_table(dataset_metadata(dataset))
    if found != classes:
        raise InputError(
            f'Dataset "{dataset}" has the classes {_told(found)}, and the model '
            f"{_told(classes)}; give a dataset with the same things and stuff."
        )
    return DatasetCatalog.get(dataset)


def _told(classes: ClassTable) -> str:
    things = [classes.names[i] for i in classes.thing_ids]
    return f"{listed(classes.names)} (things: {listed(things)})"


def score(
    records: list[dict],
    predictors: dict[str, Predict],
    classes: ClassTable,
    see: Callable[[dict[str, PanopticResult]], None] = lambda predictions: None,
) -> dict[str, Score]:
    """Score several, which predict each image in turns, so that their times can be compared.

    Args:
        records: of :func:`records_of`.
        predictors: by name.
        classes: of all of them.
        see: gets what they predict of each image.
    """
    sums = {name: PanopticSums(len(classes.names)) for name in predictors}
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for record in tqdm(records, desc="scoring", unit="image"):
        image, predictions = read_rgb(record["file_name"]), {}
        truth = true_segment_ids(record), record["segments_info"]
        for name, predict in predictors.items():
            start = time.perf_counter()
            predictions[name] = found = predict(image)
            times[name].append(1000 * (time.perf_counter() - start))
            segments = [asdict(segment) for segment in found.segments]
            sums[name].add_image(*truth, found.panoptic_seg, segments)
        see(predictions)
    return {
        name: Score(
            {group: mean_metrics(sums[name], classes.thing_ids)[f"PQ{group}"] for group in GROUPS},
            float(np.median(times[name])),
        )
        for name in predictors
    }


def score_table(scores: dict[str, Score]) -> str:
    rows = [
        [name, *(f"{value:.2f}" for value in found.pq.values()), f"{found.milliseconds:.0f}"]
        for name, found in scores.items()
    ]
    header = ["", "PQ", "PQ things", "PQ stuff", "ms an image"]
    return tabulate(rows, header, disable_numparse=True, tablefmt="github")


def require_same_quality(scores: dict[str, Score]) -> None:
    """
    Raises:
        InputError: if two have another PQ.
    """
    (first, *others) = scores.values()
    for found in others:
        apart = max(abs(found.pq[group] - first.pq[group]) for group in GROUPS)
        if apart > SAME:
            raise InputError(f"The onnx file is {apart:.2f} PQ from the network; it was not kept.")
