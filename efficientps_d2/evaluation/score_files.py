"""Scoring of panoptic predictions of images and videos that lie in files, whoever made them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from efficientps_d2.data.coco_fields import understand
from efficientps_d2.data.coco_panoptic import (
    ANNOTATION_KEYS,
    read_json,
    read_segment_ids,
    require_keys,
)
from efficientps_d2.data.video_panoptic import annotations_of_frames
from efficientps_d2.evaluation.overlaps import MismatchError
from efficientps_d2.evaluation.panoptic_metrics import (
    PREDICTION,
    Compared,
    PanopticSums,
    compare_maps,
)
from efficientps_d2.evaluation.video_quality import WINDOWS, add_video
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import DAMAGED, damage

NAMED = 3  # images that are missing
TITLE = "scoring"


class Side(NamedTuple):
    """Ground truth or prediction of an image: its PNG, and segments with ``category_id`` 0..K-1."""

    file: Path
    segments: list[dict]
    video_id: object  # one for frames in a row


class Scores(NamedTuple):
    """Sums over all images, categories of the ground truth, and whatever does not fit together.

    Of videos there are sums over all windows, by the number of their frames.
    """

    sums: PanopticSums | dict[int, PanopticSums]
    categories: list[dict]
    mismatches: list[str]  # of the JSONs, or if they fit, of the PNGs
    num_images: int
    unpredicted: int  # images of the ground truth without a prediction
    left_out: int = 0  # predictions of a batch without ground truth


def score_files(
    gt_json: Path,
    gt_dir: Path,
    predicted_json: Path,
    predicted_dir: Path,
    processes: int = 1,
    only_predicted: bool = False,
) -> Scores:
    """Score predictions in COCO's panoptic format, or in VIPSeg's, with a progress bar.

    Args:
        gt_json: of the dataset.
        gt_dir: with its PNGs.
        predicted_json: of the predictions; it needs no categories.
        predicted_dir: with their PNGs.
        processes: that score images.
        only_predicted: leave out the images that have no prediction, which is a mismatch otherwise.

    Raises:
        InputError: if a folder is missing, or a JSON is missing or damaged.
    """
    for folder in (gt_dir, predicted_dir):
        require_folder_of_pngs(folder)
    content = read_panoptic(gt_json, ("annotations", "categories"))
    classes = classes_of(content["categories"], gt_json)
    mismatches: list[str] = []
    gts = sides_of(content, gt_dir, gt_json, classes, mismatches)
    videos = "videos" in content
    predicted = read_panoptic(predicted_json, ("annotations",), videos)["annotations"]
    content = {**content, "annotations": predicted}
    understand(content)  # ids of the predictions as the ground truth writes them
    predictions = sides_of(content, predicted_dir, predicted_json, classes, mismatches)
    if only_predicted:
        gts = _predicted(gts, predictions)
    if not gts.keys() & predictions.keys():
        mismatches.append(f"{predicted_json}: has no image of {gt_json}")
    mismatches += missing_images(gts.keys() - predictions.keys(), predicted_json, gt_json)
    mismatches += missing_images(predictions.keys() - gts.keys(), gt_json, predicted_json)
    pairs = [(gts[i], predictions[i]) for i in gts if i in predictions]
    to_score = [] if mismatches else pairs  # which may take long
    score = _score_videos if videos else _score_images
    sums = score(to_score, len(classes), processes, mismatches)
    unpredicted = len(gts.keys() - predictions.keys())
    return Scores(sums, content["categories"], mismatches, len(pairs), unpredicted)


def require_folder_of_pngs(folder: Path) -> None:
    """Raise InputError for what is no folder, before anything is scored."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the one that holds the PNGs.")


def read_panoptic(path: Path, keys: tuple[str, ...], videos: bool | None = None) -> dict:
    """A JSON; videos, by default where it lists them, are as if their frames were images."""
    content = read_json(path, keys)
    if "videos" in content if videos is None else videos:
        content["annotations"] = annotations_of_frames(content["annotations"], path)
        understand(content)
    return content


def _score_images(
    pairs: list, num_classes: int, processes: int, mismatches: list[str]
) -> PanopticSums:
    score = partial(sums_of_pair, num_classes=num_classes)
    return add_up(map_images(score, pairs, processes, TITLE), num_classes, mismatches)


def add_up(
    results: Iterable[PanopticSums | str], num_classes: int, mismatches: list[str]
) -> PanopticSums:
    """The sum of results of :func:`sums_of_pair`; what does not fit is added to ``mismatches``."""
    sums = PanopticSums(num_classes)
    for result in results:
        if isinstance(result, str):
            mismatches.append(result)
        else:
            sums += result
    return sums


def _score_videos(
    pairs: list, num_classes: int, processes: int, mismatches: list[str]
) -> dict[int, PanopticSums]:
    frames = {}
    read = partial(_compared, num_classes=num_classes)
    results = map_images(read, pairs, processes, TITLE)
    for (gt, _), result in zip(pairs, results, strict=True):
        if isinstance(result, str):
            mismatches.append(result)
        else:
            frames.setdefault(gt.video_id, []).append(result)
    sums = {length: PanopticSums(num_classes) for length in WINDOWS}
    if not mismatches:
        for of_video in frames.values():
            add_video(sums, of_video)
    return sums


def _predicted(gts: dict[object, Side], predictions: dict) -> dict[object, Side]:
    """Those with a prediction; behind a frame without one another video begins."""
    kept, gaps = {}, 0
    for i, gt in gts.items():
        if i in predictions:
            kept[i] = gt._replace(video_id=(gt.video_id, gaps))
        else:
            gaps += 1
    return kept


def missing_images(ids: set, file: Path, other: Path) -> list[str]:
    """A sentence about the images that ``file`` lacks, if any."""
    if not ids:
        return []
    named = ", ".join(map(repr, sorted(ids, key=str)[:NAMED]))
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return [f"{file}: has no image {named}{more} of {other}"]


def classes_of(categories: list[dict], gt_json: Path) -> dict:
    """The contiguous id of each dataset id."""
    require_keys(categories, ("id", "name", "isthing"), "category", gt_json)
    classes = {category["id"]: i for i, category in enumerate(categories)}
    if len(classes) < len(categories):
        raise InputError(f"{gt_json} lists a category id twice; give each an id of its own.")
    return classes


def sides_of(
    content: dict, folder: Path, json_file: Path, classes: dict, mismatches: list[str]
) -> dict[object, Side]:
    """The annotations of a JSON by image id."""
    require_keys(content["annotations"], ANNOTATION_KEYS, "annotation", json_file)
    sides = {}
    for annotation in content["annotations"]:
        file, segments = Path(folder, annotation["file_name"]), annotation["segments_info"]
        require_keys(segments, ("id", "category_id"), f"segment of {file}", json_file)
        unknown = {s["category_id"] for s in segments} - classes.keys()
        if unknown:
            mismatches.append(f"{file}: has a segment of the unknown category {unknown.pop()!r}")
            segments = [s for s in segments if s["category_id"] in classes]
        if annotation["image_id"] in sides:
            mismatches.append(f"{json_file}: image {annotation['image_id']!r} is there twice")
        mapped = [{**s, "category_id": classes[s["category_id"]]} for s in segments]
        sides[annotation["image_id"]] = Side(file, mapped, annotation.get("video_id"))
    return sides


def sums_of_pair(pair: tuple[Side, Side], num_classes: int) -> PanopticSums | str:
    """The sums of one image, or what is wrong with its files."""
    compared = _compared(pair, num_classes)
    if isinstance(compared, str):
        return compared
    sums = PanopticSums(num_classes)
    sums.add(compared)
    return sums


def _compared(pair: tuple[Side, Side], num_classes: int) -> Compared | str:
    """What a score needs of an image or frame, or what is wrong with its files."""
    maps = []
    for side in pair:
        try:
            maps.append(read_segment_ids(str(side.file)))
        except DAMAGED as error:
            return f"{side.file}: cannot be read ({damage(error)})"
    gt, prediction = pair
    if maps[0].shape != maps[1].shape:
        (height, width), (h, w) = maps[1].shape, maps[0].shape
        return f"{prediction.file}: is {width} x {height} pixels, but {gt.file} is {w} x {h}"
    # Predictions may state any area: as in panopticapi, only that of the ground truth counts.
    predicted = [{"id": s["id"], "category_id": s["category_id"]} for s in prediction.segments]
    try:
        return compare_maps(maps[0], gt.segments, maps[1], predicted, num_classes)
    except MismatchError as error:
        file = prediction.file if error.what == PREDICTION else gt.file
        return f"{file}: {error}"
