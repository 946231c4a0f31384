"""Scoring of the shards of ``efficientps-d2 predict-batch``, one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from efficientps_d2.data.coco_fields import KnownIds
from efficientps_d2.data.coco_panoptic import read_json
from efficientps_d2.evaluation.panoptic_metrics import PanopticSums
from efficientps_d2.evaluation.score_files import (
    TITLE,
    Scores,
    Side,
    add_up,
    classes_of,
    missing_images,
    read_panoptic,
    require_folder_of_pngs,
    sides_of,
    sums_of_pair,
)
from efficientps_d2.utils.parallel import map_parts
from efficientps_d2_runtime.batch.output import SHARDS, Output, shard_name
from efficientps_d2_runtime.coco import JSON, PNGS
from efficientps_d2_runtime.errors import InputError


@dataclass(frozen=True)
class Truth:
    """The ground truth, by image id."""

    sides: dict[object, Side]
    classes: dict  # contiguous id of each dataset id
    ids: KnownIds


@dataclass(frozen=True)
class Part:
    """A shard, and the ground truth of its images."""

    output: Output
    shard: int
    pairs: list[tuple[Side, Side]]  # the second with the name of its PNG

    def __len__(self) -> int:
        return len(self.pairs)


def score_batch(
    gt_json: Path, gt_dir: Path, output: Output, processes: int = 1, only_predicted: bool = False
) -> Scores:
    """Score what is finished of an output, in memory that does not grow with its images.

    Args:
        gt_json: of the dataset.
        gt_dir: with its PNGs.
        output: of ``predict-batch``, on a disk or in object storage.
        processes: that score images.
        only_predicted: leave out the images without a prediction, which is a mismatch otherwise.

    Raises:
        InputError: if a file is missing or damaged, or the ground truth is of videos.
    """
    require_folder_of_pngs(gt_dir)
    output.require_manifest()
    content = read_panoptic(gt_json, ("annotations", "categories"))
    if "videos" in content:
        raise InputError(f"{gt_json} is of videos, and a batch is of images; give another --gt.")
    classes, mismatches = classes_of(content["categories"], gt_json), []
    gts = sides_of(content, gt_dir, gt_json, classes, mismatches)
    truth = Truth(gts, classes, KnownIds(content))
    sums, seen = PanopticSums(len(classes)), set()
    parts = _parts(output, truth, gt_json, seen, mismatches)
    score = partial(_score_part, num_classes=len(classes))
    for of_part, misfits in map_parts(score, parts, processes, TITLE, len(gts)):
        sums += of_part
        mismatches += misfits
    unpredicted = gts.keys() - seen
    if not seen:
        mismatches.append(f"{output}: has no image of {gt_json}")
    elif not only_predicted:
        mismatches += missing_images(unpredicted, output, gt_json)
    return Scores(sums, content["categories"], mismatches, len(seen), len(unpredicted))


def _parts(
    output: Output, truth: Truth, gt_json: Path, seen: set, mismatches: list[str]
) -> Iterator[Part]:
    """The finished shards with their ground truth; fills the last two arguments."""
    for shard in sorted(output.finished()):
        name = Path(output.folder.name(SHARDS, shard_name(shard), JSON))
        with output.local(shard, (JSON,)) as folder:
            content = read_json(folder / JSON, ("annotations",))
        truth.ids.understand(content["annotations"])
        predictions = sides_of(content, Path(PNGS), name, truth.classes, mismatches)
        mismatches += missing_images(predictions.keys() - truth.sides.keys(), gt_json, name)
        both = [i for i in predictions if i in truth.sides]
        if twice := seen.intersection(both):
            mismatches.append(
                f"{name}: image {sorted(twice, key=str)[0]!r} is in another shard, too"
            )
        seen.update(both)
        yield Part(output, shard, [(truth.sides[i], predictions[i]) for i in both])


def _score_part(part: Part, num_classes: int) -> tuple[PanopticSums, list[str]]:
    """The sums of a shard, and what does not fit."""
    mismatches: list[str] = []
    names = [str(prediction.file) for _, prediction in part.pairs]
    with part.output.local(part.shard, names) as folder:
        pairs = ((gt, side._replace(file=folder / side.file)) for gt, side in part.pairs)
        results = (sums_of_pair(pair, num_classes) for pair in pairs)
        return add_up(results, num_classes, mismatches), mismatches
