"""Labels for scans, in the layout that the server of SemanticKITTI takes, and their score."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from efficientps_d2.data.datasets.published import require
from efficientps_d2.data.datasets.semantic_kitti import CATEGORIES, RAW_IDS, TITLE, sequences_of
from efficientps_d2.data.lidar.labels import point_labels
from efficientps_d2.data.lidar.projection import project
from efficientps_d2.data.lidar.scans import (
    LABEL_BYTES,
    LABEL_SUFFIX,
    POINT_BYTES,
    SCAN_SUFFIX,
    read_point_labels,
    read_scan,
    require_labels,
    write_point_labels,
)
from efficientps_d2.evaluation.point_evaluation import IS_THING, add_labels, new_sums
from efficientps_d2.evaluation.point_metrics import PointSums
from efficientps_d2.prediction.predictor import Predictor
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file

MARKER = "lidar.json"  # in a folder of labels: which model made them
UNLABELLED = "label it first, by --model"


class Scan(NamedTuple):
    """The files of a scan: its points, its true labels, which test sequences lack, and found."""

    points: Path
    truth: Path
    found: Path

    @property
    def sequence(self) -> str:
        """Its number."""
        return self.points.parent.parent.name


def scans_of(source: Path, output: Path, sequences: list[str]) -> list[Scan]:
    """The scans of some sequences.

    Raises:
        InputError: if one of them is not there or empty.
    """
    root, scans = sequences_of(source), []
    for number in sequences:
        cure = "give the folder that holds sequences/, and sequences that it has"
        folder = require(root / number / "velodyne", TITLE, cure)
        files = sorted(folder.glob(f"*{SCAN_SUFFIX}"))
        if not files:
            raise InputError(f"{folder} holds no scan; unpack data_odometry_velodyne.zip again.")
        for file in files:
            name = f"{file.stem}{LABEL_SUFFIX}"
            found = output / "sequences" / number / "predictions" / name
            scans.append(Scan(file, root / number / "labels" / name, found))
    return scans


def with_truth(scans: list[Scan]) -> list[Scan]:
    """The scans of those sequences that have true labels.

    Raises:
        InputError: if a sequence has labels of some scans only.
    """
    known = [scan for scan in scans if scan.truth.is_file()]
    sequences = {scan.sequence for scan in known}
    for scan in scans:
        if scan.sequence in sequences and not scan.truth.is_file():
            raise InputError(
                f"{scan.truth} does not exist, but other scans of sequence {scan.sequence} have "
                "labels; unpack data_odometry_labels.zip again."
            )
    return known


def require_found(scans: list[Scan]) -> None:
    """Fail unless each scan has a label for each point, by the sizes of the files.

    Raises:
        InputError: it names the labels.
    """
    for scan in scans:
        size = require(scan.found, "a submission", UNLABELLED).stat().st_size
        points = scan.points.stat().st_size // POINT_BYTES
        if size != points * LABEL_BYTES:
            raise InputError(
                f"{scan.found} has {size / LABEL_BYTES:g} labels, but {scan.points} has {points} "
                "points; remove it and label the scan again."
            )


def require_classes(predictor: Predictor) -> None:
    """Fail for a model that was not trained on SemanticKITTI."""
    names = [category["name"] for category in CATEGORIES]
    if list(predictor.metadata.stuff_classes) != names:
        raise InputError(
            f"{predictor.cfg.MODEL.WEIGHTS} knows other classes than {TITLE}; give a model that "
            "was trained with configs/efficientps_semantic_kitti.yaml."
        )


def require_model(predictor: Predictor, output: Path) -> None:
    """Mark a folder of labels with the model that makes them, or check that it is the same.

    Raises:
        InputError: if the folder has labels of another model.
    """
    with open(predictor.cfg.MODEL.WEIGHTS, "rb") as weights:
        own = {"sha256": hashlib.file_digest(weights, "sha256").hexdigest()}
    marker = output / MARKER
    try:
        same = json.loads(marker.read_text(encoding="utf-8")) == own
    except (OSError, ValueError):
        same = not (output / "sequences").exists()
    if not same:
        raise InputError(f"{output} has labels of another model; give another OUTPUT.")
    output.mkdir(parents=True, exist_ok=True)
    with replacing_file(marker) as partial:
        partial.write_text(json.dumps(own), encoding="utf-8")


def label_scans(predictor: Predictor, scans: list[Scan]) -> int:
    """Write the labels of each scan that has none yet, with a progress bar; returns their number.

    Raises:
        InputError: if a scan cannot be read.
    """
    left = [scan for scan in scans if not scan.found.is_file()]
    if len(left) < len(scans):
        print(f"{len(scans) - len(left)} of {len(scans)} scans have labels already.")
    for scan in tqdm(left, desc="labelling", unit="scan"):
        points = read_scan(scan.points)
        prediction = predictor(project(points).image)
        segments = [{"id": s.id, "category_id": s.category_id} for s in prediction.segments]
        labels = point_labels(points, prediction.panoptic_seg, segments, RAW_IDS, IS_THING)
        scan.found.parent.mkdir(parents=True, exist_ok=True)
        write_point_labels(scan.found, labels)
    return len(left)


def score_scans(scans: list[Scan], processes: int) -> PointSums:
    """The metrics of the labels that were found, by the rules of the publisher.

    Raises:
        InputError: if labels are missing, or of another number than their scan.
    """
    sums = new_sums()
    for part in map_images(_score, scans, processes, "scoring"):
        sums += part
    return sums


def _score(scan: Scan) -> PointSums:
    truth = read_point_labels(scan.truth)
    found = read_point_labels(require(scan.found, "a score", UNLABELLED))
    require_labels(read_scan(scan.points), truth, scan.points, scan.truth)
    require_labels(truth, found, scan.truth, scan.found)
    sums = new_sums()
    add_labels(sums, truth, found, (scan.truth, scan.found))
    return sums
