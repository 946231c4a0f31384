"""What a finished run left in its ``OUTPUT_DIR``, for its report."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from detectron2.config import CfgNode

from .config import load_config
from .errors import InputError
from .panoptic_json import read_json

SUFFIX = "_images.jsonl"  # of what PanopticEvaluator writes
HEADLINE = "panoptic_seg/PQ"
TTA = "_TTA"


class SavedPredictions(NamedTuple):
    """The PNGs that an evaluation wrote, and COCO's categories by contiguous id."""

    folder: Path
    categories: list[dict]


@dataclass
class Run:
    """A run and its last evaluation on one data set."""

    folder: Path
    dataset: str
    cfg: CfgNode
    training: list[dict]  # lines of metrics.json with losses, by iteration
    validation: list[tuple[int, float]]  # iteration and PQ of evaluations during training
    results: dict[str, float]  # such as "panoptic_seg/PQ-car", of the last evaluation
    pictures: list[dict]  # lines of NAME_images.jsonl; empty with Detectron2's evaluator
    saved: SavedPredictions | None

    @property
    def names(self) -> list[str]:
        """Of all classes, by contiguous id."""
        return self.cfg.MODEL.EFFICIENTPS.CLASS_NAMES

    @property
    def thing_ids(self) -> list[int]:
        """Contiguous ids of the things."""
        return self.cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS


def read_run(folder: str | Path, dataset: str = "") -> Run:
    """Read a run.

    Args:
        folder: its ``OUTPUT_DIR``.
        dataset: one of those it was evaluated on; the first of its config if empty.

    Raises:
        InputError: if a file is missing or damaged, or there was no evaluation on the data set.
    """
    folder = Path(folder)
    cfg = _last_config(folder)
    dataset = dataset or cfg.DATASETS.TEST[0]
    lines = _json_lines(folder / "metrics.json")
    training, validation, results = [], [], {}
    for line in lines:
        if "total_loss" in line:
            # A run that was resumed, or started anew, repeats iterations.
            while training and training[-1]["iteration"] >= line["iteration"]:
                training.pop()
            while validation and validation[-1][0] > line["iteration"]:
                validation.pop()
            training.append(line)
        of_dataset = _of_dataset(line, dataset, cfg.DATASETS.TEST)
        if of_dataset:
            results = of_dataset
            if line["iteration"] > 0:  # that of an evaluation alone
                validation.append((line["iteration"], of_dataset[HEADLINE]))
    if not results:
        raise InputError(
            f"{folder / 'metrics.json'} has no evaluation on {dataset}; run train_net.py "
            "--eval-only with this OUTPUT_DIR."
        )
    inference = folder / "inference"
    pictures_file = inference / f"{dataset}{SUFFIX}"
    pictures = _json_lines(pictures_file) if pictures_file.is_file() else []
    if pictures and "segments_info" not in pictures[0]:
        raise InputError(f"{pictures_file} is of an older version; evaluate again.")
    saved = None
    if pictures and "prediction" in pictures[0]:
        content = read_json(inference / f"{dataset}_panoptic.json", ("categories",))
        saved = SavedPredictions(inference / f"{dataset}_panoptic", content["categories"])
    return Run(folder, dataset, cfg, training, validation, results, pictures, saved)


def _last_config(folder: Path) -> CfgNode:
    """The config of the last evaluation: of a training in the folder itself, else in inference/."""
    files = [folder / "config.yaml", folder / "inference" / "config.yaml"]
    files = [file for file in files if file.is_file()]
    if not files:
        raise InputError(f"{folder} has no config.yaml; give the OUTPUT_DIR of a run.")
    return load_config(str(max(files, key=lambda file: file.stat().st_mtime)))


def _of_dataset(line: dict, dataset: str, datasets: tuple[str, ...]) -> dict[str, float]:
    """The results on a data set in a line of metrics.json, under names without the data set's."""
    own = line
    if len(datasets) > 1:
        own = {}
        for key, value in line.items():
            folder, _, metric = key.partition("/")
            if folder == dataset:
                own[metric] = value
            elif folder == f"{dataset}{TTA}":
                own[metric.replace("/", f"{TTA}/", 1)] = value
    return own if HEADLINE in own else {}


def _json_lines(file: Path) -> list[dict]:
    try:
        with open(file, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except FileNotFoundError as error:
        raise InputError(f"{file} does not exist; give the OUTPUT_DIR of a run.") from error
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); evaluate again.") from error
