"""Tables and texts about a checked dataset."""

from collections import defaultdict

import numpy as np
from detectron2.config import CfgNode
from tabulate import tabulate

from efficientps_d2.data.checks.dataset import Statistics
from efficientps_d2.data.checks.listing import Listing
from efficientps_d2.data.checks.problems import KINDS, Problem
from efficientps_d2.data.checks.suggest import Suggestion, resized_things
from efficientps_d2.utils.shell import quoted

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)


def segments_of_classes(listing: Listing, statistics: Statistics) -> str:
    """Kind, images, segments, pixels and share of pixels of each class, and of void.

    Classes without a segment are only named below the table.
    """
    rows, absent = [], []
    for id_, category in listing.categories.items():
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
    overrides = " \\\n".join(f"    {s.key} {quoted(str(s.value))}" for s in suggestions)
    return f"{suggestion_table(suggestions)}\n\nAs config overrides:\n\n{overrides}"
