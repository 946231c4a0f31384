"""A folder as a training and its evaluation leave it, without either."""

import json
from pathlib import Path

from detectron2.data import DatasetCatalog
from detectron2.evaluation.testing import flatten_results_dict
from predictions import feed, imperfect_outputs

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.evaluation.panoptic_evaluation import PanopticEvaluator
from efficientps_d2.evaluation.results import FILES, write_results


def training_lines(iterations, loss: float = 2.0) -> list[dict]:
    return [
        {"iteration": i, "total_loss": loss, "loss_mask": loss / 4, "loss_cls": loss / 2, "lr": 0.1}
        for i in iterations
    ]


def write_lines(folder: Path, lines: list[dict]) -> None:
    with open(folder / "metrics.json", "a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)


def write_run(cfg, folder: Path, save: bool = True, seed: int = 0) -> Path:
    """Config, metrics and predictions of a run on the first dataset of ``cfg``."""
    name = cfg.DATASETS.TEST[0]
    cfg = with_class_counts(cfg)
    evaluator = PanopticEvaluator(name, str(folder / "inference"), save_predictions=save)
    records = DatasetCatalog.get(name)
    feed(evaluator, records, imperfect_outputs(records, 4, seed))
    (folder / "config.yaml").write_text(cfg.dump())
    results = evaluator.evaluate()
    write_results(folder / "inference", name, results)
    last = {"iteration": 60, **flatten_results_dict(results)}
    write_lines(folder, [*training_lines((19, 39, 59)), last])
    return folder


def without_results(folder: Path, name: str) -> None:
    """Remove what an evaluation on a dataset left."""
    for suffix in FILES:
        (folder / f"{name}{suffix}").unlink(missing_ok=True)
