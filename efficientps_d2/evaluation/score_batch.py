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
    pngs: dict[str, object]  # image id by PNG
    classes: dict  # contiguous id of each dataset id
    ids: KnownIds

    def id_of(self, predicted: object, png: Path) -> object | None:
        """The id of a predicted image; None if it has no ground truth."""
        if predicted in self.sides:
            return predicted
        return self.pngs.get(png.as_posix())


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

    Images are found by their ids or, where these are others, by the names of their PNGs. Those
    without ground truth are left out.

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
    pngs = {side.file.relative_to(gt_dir).as_posix(): i for i, side in gts.items()}
    truth = Truth(gts, pngs, classes, KnownIds(content))
    sums, seen, others = PanopticSums(len(classes)), set(), []
    parts = _parts(output, truth, seen, others, mismatches)
    score = partial(_score_part, num_classes=len(classes))
    for of_part, misfits in map_parts(score, parts, processes, TITLE, len(gts)):
        sums += of_part
        mismatches += misfits
    unpredicted = gts.keys() - seen
    if not seen:
        examples = [min(names) for names in (pngs, others) if names]
        names = f" (PNGs such as {' and '.join(examples)})" if examples else ""
        mismatches.append(f"{output}: has no image of {gt_json}{names}")
    elif not only_predicted:
        mismatches += missing_images(unpredicted, output, gt_json)
    numbers = len(seen), len(unpredicted), len(others)
    return Scores(sums, content["categories"], mismatches, *numbers)


def _parts(
    output: Output, truth: Truth, seen: set, others: list[str], mismatches: list[str]
) -> Iterator[Part]:
    """The finished shards with their ground truth; fills the last three arguments."""
    for shard in sorted(output.finished()):
        name = Path(output.folder.name(SHARDS, shard_name(shard), JSON))
        with output.local(shard, (JSON,)) as folder:
            content = read_json(folder / JSON, ("annotations",))
        truth.ids.understand(content["annotations"])
        sides = sides_of(content, Path(PNGS), name, truth.classes, mismatches)
        predictions = {}
        for i, side in sides.items():
            png = side.file.relative_to(PNGS)
            if (of_truth := truth.id_of(i, png)) is None:
                others.append(png.as_posix())
            else:
                predictions[of_truth] = side
        if twice := seen.intersection(predictions):
            mismatches.append(
                f"{name}: image {sorted(twice, key=str)[0]!r} is in another shard, too"
            )
        seen.update(predictions)
        yield Part(output, shard, [(truth.sides[i], side) for i, side in predictions.items()])


def _score_part(part: Part, num_classes: int) -> tuple[PanopticSums, list[str]]:
    """The sums of a shard, and what does not fit."""
    mismatches: list[str] = []
    names = [str(prediction.file) for _, prediction in part.pairs]
    with part.output.local(part.shard, names) as folder:
        pairs = ((gt, side._replace(file=folder / side.file)) for gt, side in part.pairs)
        results = (sums_of_pair(pair, num_classes) for pair in pairs)
        return add_up(results, num_classes, mismatches), mismatches
