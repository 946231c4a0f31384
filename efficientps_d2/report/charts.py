"""Charts of a report, as SVG."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from efficientps_d2.evaluation.panoptic_metrics import Match
from efficientps_d2.report.error_analysis import pooled_pq
from efficientps_d2.report.run import HEADLINE, Run

BLUE, GREY, ORANGE = "#0072b2", "#999999", "#e69f00"
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "report",  # the same report of the same run
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
}


def training_chart(run: Run, earlier: Run | None = None) -> str:
    """Losses, learning rate and, if there were evaluations on the way, PQ, over iterations."""
    panels = 3 if len(run.validation) > 1 else 2
    heights = [3, 1, 1.5][:panels]
    # A line of one point is invisible.
    marker = {"lines.marker": "o", "lines.markersize": 3} if len(run.training) == 1 else {}
    with matplotlib.rc_context(STYLE | marker):
        figure = Figure(figsize=(9, 1 + 1.25 * sum(heights)), layout="constrained")
        axes = figure.subplots(panels, 1, sharex=True, height_ratios=heights)
        _draw_losses(axes[0], run, earlier)
        iterations = [line["iteration"] for line in run.training]
        axes[1].plot(iterations, [line["lr"] for line in run.training], color=BLUE)
        axes[1].set_ylabel("learning rate")
        if panels == 3:
            _draw_validation(axes[2], run)
        axes[-1].set_xlabel("iteration")
        return _svg(figure)


def _draw_losses(axes: Axes, run: Run, earlier: Run | None) -> None:
    iterations = [line["iteration"] for line in run.training]
    names = [name for name in run.training[-1] if name.startswith("loss_")]
    axes.plot(
        iterations, [line["total_loss"] for line in run.training], color="black", label="total_loss"
    )
    if validation := run.validation_losses:
        label = "total_loss, validation"
        axes.plot(
            *zip(*validation, strict=True), color="black", ls=":", marker="o", ms=3, label=label
        )
    for name in names:
        axes.plot(iterations, [line.get(name, np.nan) for line in run.training], lw=1, label=name)
    if earlier and earlier.training:
        axes.plot(
            [line["iteration"] for line in earlier.training],
            [line["total_loss"] for line in earlier.training],
            color=GREY,
            ls="--",
            label="total_loss, earlier run",
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("loss")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _draw_validation(axes: Axes, run: Run) -> None:
    """PQ of evaluations during training, with a mark at the best."""
    points = [(line["iteration"], line[HEADLINE]) for line in run.validation]
    best = max(points, key=lambda point: point[1])
    axes.plot(*zip(*points, strict=True), color=BLUE, marker="o", markersize=3)
    axes.plot(*best, color=BLUE, marker="o", markersize=7)
    axes.annotate(f"{best[1]:.1f}", best, (0, 6), textcoords="offset points", ha="center")
    axes.margins(y=0.3)
    axes.set_ylabel("PQ, validation" if run.has_stuff else "PQ of things,\nvalidation")


def score_chart(histogram: np.ndarray) -> str:
    """How many segments have which score.

    Args:
        histogram: (2, N) of stuff and of things, in N equal parts from 0 to 1.
    """
    edges = np.linspace(0, 1, histogram.shape[1] + 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        for axes, counts, name, color in zip(
            figure.subplots(1, 2), histogram[::-1], ("things", "stuff"), (ORANGE, BLUE), strict=True
        ):
            axes.stairs(counts, edges, fill=True, color=color)
            axes.set(title=name, xlabel="score", xlim=(0, 1))
        return _svg(figure)


def size_chart(matches: Sequence[Match], thing_ids: Sequence[int]) -> str:
    """PQ of things by the area of the object; "" if there are none.

    Classes are pooled, a matched or missed object counts by its true area, an extra one by its
    predicted area.
    """
    bins: dict[int, list[Match]] = {}
    for match in matches:
        if match.class_id in thing_ids:
            side = int(np.log2(match.area) // 2)  # 4**side <= area < 4**(side + 1)
            bins.setdefault(side, []).append(match)
    if not bins:
        return ""
    sides = range(min(bins), max(bins) + 1)
    values = [pooled_pq(bins[side]) if side in bins else np.nan for side in sides]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots()
        bars = axes.bar([f"{2**side}² to {2 ** (side + 1)}²" for side in sides], values, color=BLUE)
        counts = [len(bins.get(side, ())) for side in sides]
        labels = [f"{v:.0f}\nn = {n}" if n else "" for v, n in zip(values, counts, strict=True)]
        axes.bar_label(bars, labels, padding=2, fontsize=9)
        axes.set_ylim(0, 118)
        axes.set_yticks(range(0, 101, 25))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("area of the object in pixels")
        axes.set_ylabel("PQ of things")
        return _svg(figure)


def _svg(figure: Figure) -> str:
    """The drawing without the XML header, for HTML; colours of its own, so no dark mode."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
