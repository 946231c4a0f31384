"""Reading of what a run has left in its ``OUTPUT_DIR``."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from detectron2.config import CfgNode

from efficientps_d2.config.keys import has_semantic_head
from efficientps_d2.config.loading import load_config
from efficientps_d2.data.bands import shown_bands
from efficientps_d2.data.coco_panoptic import read_json
from efficientps_d2.evaluation.panoptic_metrics import Match
from efficientps_d2.evaluation.results import (
    FOLDER,
    FOLDER_TTA,
    HEADLINE,
    IMAGES,
    PREDICTIONS,
    RESULTS,
    VALIDATION,
)
from efficientps_d2_runtime.errors import InputError

HEADLINE_TH = f"{HEADLINE}_th"
CONFIGS = ("config.yaml", f"{FOLDER}/config.yaml")  # of a training, of an evaluation alone


class SavedPredictions(NamedTuple):
    """The PNGs that an evaluation wrote, COCO's categories by contiguous id, bands to draw."""

    folder: Path
    categories: list[dict]
    shown_bands: tuple[int, ...] = ()


@dataclass
class Run:
    """A run and its last evaluation on one dataset."""

    folder: Path
    dataset: str
    names: list[str]  # of all classes, by contiguous id
    thing_ids: list[int]
    cfg: CfgNode
    training: list[dict]  # lines of metrics.json with losses, by iteration
    # Of evaluations during training: "iteration", "panoptic_seg/PQ" and, if computed, losses.
    validation: list[dict]
    results: dict[str, float]  # such as "panoptic_seg/PQ-car"
    results_tta: dict[str, float]  # the same with test-time augmentation, if there was any
    images: list[dict]  # what PanopticEvaluator wrote; empty with Detectron2's evaluator
    saved: SavedPredictions | None

    @property
    def has_stuff(self) -> bool:
        """Whether the network predicts stuff, which Mask R-CNN does not."""
        return has_semantic_head(self.cfg)

    @property
    def validation_losses(self) -> list[tuple[int, float]]:
        """Iterations and total losses of the evaluations during training."""
        return [
            (line["iteration"], line["total_loss"])
            for line in self.validation
            if "total_loss" in line
        ]


def matches_of(image: dict) -> list[Match]:
    """The matches of a line of NAME_images.jsonl."""
    # Runs before 2026-11-28 have lists without names.
    return [Match(**m) if isinstance(m, dict) else Match(*m) for m in image["matches"]]


def read_run(folder: str | Path, dataset: str = "") -> Run:
    """Read a run.

    Args:
        folder: its ``OUTPUT_DIR``.
        dataset: one of those it was evaluated on; by default the first of them.

    Raises:
        InputError: if a file is missing or damaged, or there was no evaluation on the dataset.
    """
    folder = Path(folder).resolve()
    evaluated = _evaluated_datasets(folder)
    cfg = _config(folder)
    dataset = _choose_dataset(folder, dataset, evaluated, cfg.DATASETS.TEST)
    evaluation = _evaluation(folder / FOLDER / f"{dataset}{RESULTS}")
    augmented = folder / FOLDER_TTA / f"{dataset}{RESULTS}"
    results_tta = _evaluation(augmented)["results"] if augmented.is_file() else {}
    training, validation = _curves(folder / "metrics.json", dataset, cfg.DATASETS.TEST)
    images_file = folder / FOLDER / f"{dataset}{IMAGES}"
    images = _json_lines(images_file) if images_file.is_file() else []
    saved = None
    if images and "prediction" in images[0]:
        content = read_json(folder / FOLDER / f"{dataset}{PREDICTIONS}", ("categories",))
        pngs = folder / FOLDER / f"{dataset}_panoptic"
        saved = SavedPredictions(pngs, content["categories"], shown_bands(cfg.INPUT))
    run = Run(
        folder,
        dataset,
        evaluation["classes"],
        evaluation["thing_ids"],
        cfg,
        training,
        validation,
        evaluation["results"],
        results_tta,
        images,
        saved,
    )
    return run if run.has_stuff else without_stuff(run)


def without_stuff(run: Run) -> Run:
    """What counts of a network that predicts things only: stuff is void and has no metrics."""

    things = [run.names[i] for i in run.thing_ids]

    def counts(key: str) -> bool:
        task, _, metric = key.partition("/")
        name = metric.partition("-")[2]
        return task != "panoptic_seg" or (name in things if name else metric.endswith("_th"))

    def things_only(results: dict[str, float]) -> dict[str, float]:
        return {k: value if counts(k) else float("nan") for k, value in results.items()}

    validation = [{**x, HEADLINE: x.get(HEADLINE_TH, x[HEADLINE])} for x in run.validation]
    images = []
    for image in run.images:
        segments = [
            s if s["category_id"] in run.thing_ids else {**s, "iscrowd": 1}
            for s in image["segments_info"]
        ]
        matches = [m._asdict() for m in matches_of(image) if m.class_id in run.thing_ids]
        images.append({**image, "segments_info": segments, "matches": matches})
    return replace(
        run,
        results=things_only(run.results),
        results_tta=things_only(run.results_tta),
        images=images,
        validation=validation,
    )


def _evaluated_datasets(folder: Path) -> list[str]:
    """The datasets that a run was evaluated on."""
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; give the OUTPUT_DIR of a run.")
    found = sorted((folder / FOLDER).glob(f"*{RESULTS}"))
    evaluated = [file.name.removesuffix(RESULTS) for file in found]
    if not evaluated:
        raise InputError(
            f"{folder} has no results of an evaluation; give the OUTPUT_DIR of a run, or run "
            "efficientps-d2 evaluate with it."
        )
    return evaluated


def _choose_dataset(
    folder: Path, dataset: str, evaluated: list[str], order: tuple[str, ...]
) -> str:
    """The dataset, or by default the first of the config, that a run was evaluated on."""
    if dataset and dataset not in evaluated:
        raise InputError(
            f"{folder} was not evaluated on {dataset}; it was on {' and '.join(evaluated)}."
        )
    return dataset or next((name for name in order if name in evaluated), evaluated[0])


def _evaluation(file: Path) -> dict:
    """What :func:`write_results` wrote."""
    content = read_json(file, ("classes", "thing_ids"))
    results = content.get("results")
    if not isinstance(results, dict) or HEADLINE not in results:
        raise InputError(f"{file} is damaged: it has no {HEADLINE}; evaluate again.")
    return content


def _config(folder: Path) -> CfgNode:
    """The config of the training, or of the evaluation where there was no training."""
    for file in CONFIGS:
        if (folder / file).is_file():
            return load_config(str(folder / file), only_read=True)
    raise InputError(f"{folder} has no config.yaml; give the OUTPUT_DIR of a run.")


def _curves(file: Path, dataset: str, datasets: tuple[str, ...]) -> tuple[list[dict], list[dict]]:
    """Lines of the losses and of the evaluations of a training, by iteration.

    With several test sets, the names of metrics begin with theirs.
    """
    headline = HEADLINE if len(datasets) == 1 else f"{dataset}/{HEADLINE}"
    training, validation = [], []
    file_lines = _json_lines(file) if file.is_file() else []
    # Earlier versions wrote the metrics of validation under their own names only, which now are
    # also those of an evaluation of the best weights.
    is_old = not any(key.startswith(f"{VALIDATION}/") for line in file_lines for key in line)
    for line in file_lines:
        if "total_loss" in line:
            # A run that was resumed, or started again, repeats iterations.
            for lines in (training, validation):
                while lines and lines[-1]["iteration"] >= line["iteration"]:
                    lines.pop()
            training.append(line)
        of_validation = {
            key.removeprefix(f"{VALIDATION}/"): value
            for key, value in line.items()
            if key.startswith(f"{VALIDATION}/")
        }
        pq = of_validation.get(headline, line.get(headline) if is_old else None)
        # Iteration 0 is that of an evaluation alone.
        if pq is not None and line["iteration"] > 0 and dataset in datasets:
            # Runs before 2026-11-29 have that of things only under its own name.
            if (name := f"{headline}_th") in line:
                of_validation.setdefault(HEADLINE_TH, line[name])
            validation.append({**of_validation, "iteration": line["iteration"], HEADLINE: pq})
    return training, validation


def _json_lines(file: Path) -> list[dict]:
    lines = []
    with open(file, encoding="utf-8") as content:
        for number, line in enumerate(content, 1):
            try:
                lines.append(json.loads(line))
            except ValueError as error:
                raise InputError(
                    f"{file} is damaged in line {number} ({error}); remove that line."
                ) from error
    return lines
