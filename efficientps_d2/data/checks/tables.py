"""Tables, texts and images about a checked dataset."""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from panopticapi.utils import rgb2id
from PIL import Image
from tabulate import tabulate

from efficientps_d2.data.checks.dataset import CheckResult, Statistics
from efficientps_d2.data.checks.image import unusable
from efficientps_d2.data.checks.listing import Source
from efficientps_d2.data.checks.problems import KINDS, Problem, Repair
from efficientps_d2.data.checks.reading import read_ground_truth
from efficientps_d2.data.checks.suggest import Suggestion, resized_things
from efficientps_d2.data.coco_panoptic import set_classes
from efficientps_d2.data.images import read_rgb
from efficientps_d2.utils.files import replacing_file
from efficientps_d2.utils.visualizer import draw_panoptic, side_by_side

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)


def class_table(source: Source, statistics: Statistics) -> str:
    """Kind, images, segments, pixels and share of pixels of each class, and of void.

    Classes without a segment are only named below the table.
    """
    rows, absent = [], []
    for id_, category in source.categories.items():
        if id_ not in statistics.classes:
            absent.append(category.name)
            continue
        images, segments, pixels = statistics.classes[id_]
        kind = "thing" if category.isthing else "stuff"
        rows.append([category.name, kind, images, segments, pixels])
    rows.append(["void", "", "", "", statistics.void])
    total = max(statistics.pixels, 1)
    rows = [[*row, f"{row[-1] / total:.2%}"] for row in rows]
    header = ["class", "kind", "images", "segments", "pixels", "share"]
    align = ("left", "left", *["right"] * 4)
    table = tabulate(rows, header, colalign=align, disable_numparse=True)
    return f"{table}\n\nClasses without a segment: {', '.join(absent)}." if absent else table


def size_tables(statistics: Statistics, cfg: CfgNode, config_name: str) -> str:
    """Sizes of things, also after the resize of a config, and where they lie among its anchors."""
    if not len(statistics.things):
        return "There are no things whose sizes could be compared with anchors."
    short, longest = float(np.median(cfg.INPUT.MIN_SIZE_TRAIN)), cfg.INPUT.MAX_SIZE_TRAIN
    jitter = np.mean(cfg.INPUT.SCALE_JITTER)
    resized = resized_things(statistics, short, longest) * jitter
    rows = [
        [title, *np.quantile(sizes, QUANTILES)]
        for title, sizes in (("as it is", statistics.things[:, 0]), ("resized", resized))
    ]
    header = ["size of things / px", *(f"{q:.0%}" for q in QUANTILES[:-1]), "largest"]
    anchors = sorted({size for level in cfg.MODEL.ANCHOR_GENERATOR.SIZES for size in level})
    counts = np.bincount(np.searchsorted(anchors, resized), minlength=len(anchors) + 1)
    names = [f"up to {anchors[0]}", *(f"to {a}" for a in anchors[1:]), f"above {anchors[-1]}"]
    shares = [["share of things", *(f"{count / len(resized):.1%}" for count in counts)]]
    return (
        f"Size is the square root of the box area; resized as by {config_name}: short edge "
        f"{short:g} (0: as it is), long edge at most {longest}, then times {jitter:g} "
        "(mean of SCALE_JITTER).\n\n"
        f"{tabulate(rows, header, floatfmt='.0f')}\n\n"
        f"{tabulate(shares, ['anchor sizes', *names], disable_numparse=True)}"
    )


def problem_list(problems: list[Problem], limit: int | None) -> str:
    """Problems by kind, errors first; of each kind not more than ``limit``, and the number."""
    groups = defaultdict(list)
    for problem in problems:
        groups[problem.kind].append(problem)
    parts = []
    order = list(KINDS)
    for kind in sorted(groups, key=lambda k: (not KINDS[k].is_error, order.index(k))):
        group, severity = groups[kind], "Error" if KINDS[kind].is_error else "Warning"
        lines = [f"{severity}: {kind}: {len(group)}  (--fix: {KINDS[kind].repair.value})"]
        lines += [f"  {problem.file}: {problem.text}" for problem in group[:limit]]
        if limit is not None and len(group) > limit:
            lines.append(f"  and {len(group) - limit} more; --all prints them")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def suggestion_table(suggestions: list[Suggestion]) -> str:
    """Keys, values and reasons."""
    rows = [[s.key, str(s.value), s.reason] for s in suggestions]
    return tabulate(rows, ["key", "value", "reason"], disable_numparse=True)


def suggestion_text(suggestions: list[Suggestion]) -> str:
    """A table of suggestions, and the same as overrides for a command line."""
    if not suggestions:
        return "There is nothing to suggest without images."
    overrides = " \\\n".join(f'    {s.key} "{s.value}"' for s in suggestions)
    return f"{suggestion_table(suggestions)}\n\nAs config overrides:\n\n{overrides}"


def draw_images(source: Source, result: CheckResult, count: int, folder: str) -> int:
    """Draw images beside their ground truth, evenly spread over the dataset.

    Args:
        source: of the dataset.
        result: of its check; images without usable files are not drawn.
        count: number of images.
        folder: made if needed; images of the same name are replaced.

    Returns:
        The number of images written.

    Raises:
        InputError: if there are no categories or too many.
    """
    categories = [{"id": id_, **c._asdict()} for id_, c in source.categories.items()]
    metadata = Metadata(name=source.location.name)
    set_classes(metadata, categories, source.location.panoptic_json)
    table = metadata.stuff_dataset_id_to_contiguous_id
    usable = [
        sample
        for sample, kinds in zip(source.images, result.kinds, strict=True)
        if Repair.LEFT_OUT not in {KINDS[kind].repair for kind in kinds}
    ]
    chosen = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    os.makedirs(folder, exist_ok=True)
    for sample in (usable[i] for i in chosen):
        image = read_rgb(sample.image_file)
        gt = rgb2id(read_ground_truth(sample.panoptic_file, []))
        segments = [
            {**segment, "category_id": table[segment["category_id"]]}
            for segment in sample.annotation["segments_info"]
            if unusable(segment, set(), source.categories) is None
        ]
        panels = [image, draw_panoptic(image, gt, segments, metadata)]
        drawn = side_by_side(panels, ("input", "ground truth"))
        with replacing_file(Path(folder, f"{Path(sample.image_file).stem}.png")) as partial:
            Image.fromarray(drawn).save(partial, format="PNG")
    return len(chosen)
