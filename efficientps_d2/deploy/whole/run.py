"""Export of a whole network as a command: written, checked, and in 8 bits if asked for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from efficientps_d2.data.classes import ClassTable, class_table
from efficientps_d2.deploy.whole.check import (
    Agreement,
    agreement,
    agreement_table,
    compare_painted,
    require_agreement,
    require_same_pixels,
    summary,
)
from efficientps_d2.deploy.whole.file import require_known_parts, write_whole
from efficientps_d2.deploy.whole.notes import note, note_memory
from efficientps_d2.deploy.whole.on_dataset import (
    records_of,
    require_same_quality,
    score,
    score_table,
)
from efficientps_d2.deploy.whole.quantize import eight_bits_file, quantize, split
from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.images import read_rgb
from efficientps_d2_runtime.network import load
from efficientps_d2_runtime.prediction import Prediction

LARGE_LOSS = 1  # PQ
PYTORCH, ONNX = "PyTorch", "ONNX Runtime"


def export_whole(predictor, path: Path, check_on: str = "", quantize_on: str = "") -> None:
    """Write the file of a whole network, compare it with the network, and print what was found.

    Args:
        predictor: a ``Predictor`` of :func:`~efficientps_d2.prediction.exportable.exportable`.
        path: the file.
        check_on: a dataset, on whose images both are compared and scored, too.
        quantize_on: a dataset that calibrates and scores a second file, in 8 bits, beside it.

    Raises:
        InputError: if it cannot be exported or says something else than the network; it is not
            kept then.
    """
    classes = class_table(predictor.metadata)
    records = {name: records_of(name, classes) for name in (check_on, quantize_on) if name}
    parts = split(records[quantize_on]) if quantize_on else ([], [])  # mistakes show first
    require_known_parts(predictor.model, predictor.cfg)

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path, keep_suffix=True) as partial:
        found = write_checked(predictor, partial)
        if check_on:
            _say(f"\nComparing it with the network on {check_on}.")
            predictors = _predict_by(partial), _predict_by_torch(predictor)
            found += compare_on(*predictors, records[check_on], classes)
    print(f"\nWrote {path}: {path.stat().st_size / 1e6:.1f} MB; it takes images in RGB.")
    print(verdict(found))
    if quantize_on:
        _quantize_on(path, quantize_on, *parts, classes)


def write_checked(predictor, path: Path) -> list[Agreement]:
    """Write the file of a whole network, and print how it compares with the network.

    Args:
        predictor: a ``Predictor`` of :func:`~efficientps_d2.prediction.exportable.exportable`.
        path: the file.

    Raises:
        InputError: if it cannot be exported or says something else than the network.
    """
    write_whole(predictor.model, predictor.cfg, predictor.metadata, path, _say)
    _say("Comparing it with the network on painted streets.")
    found = compare_painted(_predict_by(path), _predict_by_torch(predictor))
    print(agreement_table(found))
    require_agreement(found)
    _say("Measuring its memory.")
    note_memory(path)
    return found


def _say(step: str) -> None:
    """What takes long."""
    print(step, flush=True)


def compare_on(
    by_file: Callable, predict: Callable, records: list[dict], classes: ClassTable
) -> list[Agreement]:
    """Compare a file with the network on a dataset."""
    found: list[Agreement] = []
    predictors = {PYTORCH: predict, ONNX: by_file}
    scores = score(
        records, predictors, classes, lambda p: found.append(agreement(p[ONNX], p[PYTORCH]))
    )
    print(f"\n{score_table(scores)}\n{summary(found)}")
    require_same_quality(scores)
    require_same_pixels(found)
    return found


def verdict(found: list[Agreement]) -> str:
    """What was compared, and what was not."""
    others = sum(not agreement.holds for agreement in found)
    but = f", but for {others} of {len(found)} images" if others else ""
    instances = sum(agreement.instances for agreement in found)
    compared = f"with {instances} instances" if instances else "without any instance"
    return (
        f"It gives what the network gives{but}: {len(found)} images {compared} were compared. "
        "Thresholds other than its own were not."
    )


def _predict_by_torch(predictor) -> Callable:
    return lambda image: predictor(image, "RGB")


def _predict_by(file: Path) -> Callable[[np.ndarray], Prediction]:
    network = load(file, torch.get_num_threads())
    return lambda image: network(image, "RGB")


def _quantize_on(
    file: Path, dataset: str, calibrating: list[dict], others: list[dict], classes: ClassTable
) -> None:
    """Write the network of a file in 8 bits beside it, and say what that costs."""
    path = eight_bits_file(file)
    print(f"\nQuantizing by {len(calibrating)} images, scoring {len(others)} others.", flush=True)
    with replacing_file(path, keep_suffix=True) as partial:
        quantize(file, partial, (read_rgb(record["file_name"]) for record in calibrating))
        predictors = {"float32": _predict_by(file), "8 bits": _predict_by(partial)}
        scores = score(others, predictors, classes)
        lost = scores["float32"].pq[""] - scores["8 bits"].pq[""]
        note(partial, eight_bits=f"{lost:.2f} PQ lost on {dataset}")
    print(score_table(scores))
    print(f"\nWrote {path}: {path.stat().st_size / 1e6:.1f} MB; it loses {lost:.2f} PQ.")
    if lost > LARGE_LOSS:
        print(f"That is more than {LARGE_LOSS}: rather take {file}.")
