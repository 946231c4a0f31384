"""One HTML page about a run: numbers, curves, errors and images, with no other files."""

import math
from collections import Counter
from datetime import datetime
from pathlib import Path

import jinja2
import numpy as np

from efficientps_d2.config.keys import differences
from efficientps_d2.report.charts import size_chart, training_chart
from efficientps_d2.report.diagnosis import diagnose
from efficientps_d2.report.error_analysis import CORRECT, KINDS, MEANING, UNLABELED
from efficientps_d2.report.gallery import COLORS, analyse
from efficientps_d2.report.run import CONFIGS, Run, matches_of, read_run
from efficientps_d2.utils.shell import shell_command
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file

SUMMARY = {
    "PQ": ("panoptic_seg/PQ",),
    "PQ things": ("panoptic_seg/PQ_th",),
    "PQ stuff": ("panoptic_seg/PQ_st",),
    "SQ": ("panoptic_seg/SQ",),
    "RQ": ("panoptic_seg/RQ",),
    "PQ-dagger": ("panoptic_seg/PQ_dagger",),
    "PC": ("panoptic_seg/PC",),
    "box AP": ("bbox/AP",),
    "mask AP": ("segm/AP",),
    "mIoU": ("sem_seg/mIoU", "sem_seg/IoU"),
}
# Keys that differ between any two runs and say nothing about them.
OWN_KEYS = ("OUTPUT_DIR", "MODEL.WEIGHTS")
MANY_CLASSES = 30  # of which the confusion matrix shows the most confused
MOST_CONFUSED = 12  # pairs that are listed


def write_report(
    folder: Path,
    earlier_folder: Path | None = None,
    dataset: str = "",
    images: int = 6,
    processes: int = 1,
    output: Path | None = None,
) -> Path:
    """Write a page about a run, with progress bars.

    Args:
        folder: ``OUTPUT_DIR`` of the run.
        earlier_folder: that of a run to compare it with.
        dataset: one of those it was evaluated on; the first of its config if empty.
        images: of the best, worst and random images, how many of each.
        processes: that read predictions.
        output: the file of the page, by default ``report.html`` in ``folder``.

    Returns:
        The path of the page.

    Raises:
        InputError: if a file of a run is missing or damaged, or the page cannot be written.
    """
    run = read_run(folder, dataset)
    earlier = None
    if earlier_folder:
        if earlier_folder.resolve() == run.folder:
            raise InputError(f"The earlier run is {folder} itself; give another folder.")
        try:
            earlier = read_run(earlier_folder, run.dataset)
        except InputError as error:
            raise InputError(f"The earlier run: {error}") from error
    target = output or run.folder / "report.html"
    with replacing_file(target) as partial:
        partial.write_text(make_page(run, earlier, images, processes), encoding="utf-8")
    return target


def make_page(run: Run, earlier: Run | None, images: int, processes: int) -> str:
    """The HTML of a report; arguments are those of :func:`write_report`."""
    matches = [match for image in run.images for match in matches_of(image)]
    classes = class_rows(run, earlier, matches)
    errors, cards, legend = None, [], []
    if run.saved:
        errors, cards = analyse(run.images, run.saved, images, processes)
        shown = set().union(*(card.class_ids for card in cards))
        legend = [run.saved.categories[i] for i in sorted(shown)]
    return template("page.html.jinja").render(
        run=run,
        earlier=earlier,
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        warnings=diagnose(run),
        summary=summary_rows(run, earlier),
        classes=classes,
        class_changes=any(row["before"] is not None for row in classes),
        absent=absent_classes(run, classes),
        training=training_chart(run, earlier) if run.training else "",
        sizes=size_chart(matches, run.thing_ids),
        errors=error_rows(errors.pixels) if errors else [],
        confusion=confusion_table(errors.confusion, run.names) if errors else None,
        confusions=confusion_rows(errors.confusion, run.names) if errors else [],
        cards=cards,
        legend=legend,
        kinds=[kind for kind in KINDS if kind != CORRECT],
        colors=COLORS,
        meaning=MEANING,
        command=evaluation_command(run),
        differences=changed_keys(run, earlier) if earlier else [],
    )


def template(name: str) -> jinja2.Template:
    """A template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("efficientps_d2.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template(name)


def number(value: float | None, form: str = ".1f") -> str:
    """A number for people, a dash for what there is not."""
    return "–" if value is None or math.isnan(value) else format(value, form)


def summary_rows(run: Run, earlier: Run | None) -> list[dict]:
    """The main metrics that either run has."""
    rows = []
    for label, keys in SUMMARY.items():
        if not run.has_stuff and label in ("SQ", "RQ", "PC"):
            label, keys = f"{label} things", [f"{key}_th" for key in keys]
        value, before = _first(run, keys), _first(earlier, keys)
        augmented = next((run.results_tta[k] for k in keys if k in run.results_tta), None)
        has_none = value is None or (math.isnan(value) and not run.has_stuff)
        if has_none and before is None:
            continue
        change = value - before if value is not None and before is not None else None
        rows.append(
            {"label": label, "value": value, "tta": augmented, "before": before, "change": change}
        )
    return rows


def class_rows(run: Run, earlier: Run | None, matches: list) -> list[dict]:
    """Metrics and counts of each class that has any; none if the evaluator gave none."""
    counts = Counter((match.class_id, match.kind) for match in matches)
    rows = []
    for class_id, name in enumerate(run.names):
        metrics = {m: run.results.get(f"panoptic_seg/{m}-{name}") for m in ("PQ", "SQ", "RQ", "PC")}
        if metrics["PQ"] is None or math.isnan(metrics["PQ"]):
            continue
        rows.append(
            {
                "name": name,
                "kind": "thing" if class_id in run.thing_ids else "stuff",
                **metrics,
                "before": _first(earlier, [f"panoptic_seg/PQ-{name}"]),
                **{kind: counts[class_id, kind] for kind in ("tp", "fn", "fp")},
            }
        )
    return rows


def absent_classes(run: Run, rows: list[dict]) -> list[str]:
    """The classes that the network can predict, but that are not among those with metrics."""
    names = run.names if run.has_stuff else [run.names[i] for i in run.thing_ids]
    return [name for name in names if name not in [row["name"] for row in rows]]


def error_rows(pixels: dict[str, int]) -> list[tuple[str, float]]:
    """Percent of the labeled pixels of each kind."""
    labeled = max(1, sum(pixels.values()) - pixels[UNLABELED])
    return [(kind, 100 * pixels[kind] / labeled) for kind in KINDS if kind != UNLABELED]


def confusion_table(confusion: np.ndarray, names: list[str]) -> dict:
    """Percent of the pixels of each true class by predicted class, of the classes that occur."""
    total = confusion.sum(axis=1)
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    involved = wrong.sum(axis=1) + wrong[:, :-1].sum(axis=0)
    shown = np.flatnonzero(total + involved)
    if len(shown) > MANY_CLASSES:
        shown = np.sort(np.argsort(involved)[-MANY_CLASSES:])
    columns = [*shown.tolist(), len(names)]
    percent = 100 * confusion / np.maximum(total, 1)[:, None]
    rows = [
        (names[i], [(percent[i, j], i == j) for j in columns]) for i in shown.tolist() if total[i]
    ]
    labels = [*names, "nothing"]
    return {
        "columns": [labels[j] for j in columns],
        "rows": rows,
        "left_out": int((total > 0).sum()) - len(rows),
    }


def confusion_rows(confusion: np.ndarray, names: list[str]) -> list[dict]:
    """The pairs of classes with the most wrong pixels."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    total = confusion.sum(axis=1)
    labels = [*names, "nothing"]
    rows = []
    for index in np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]:
        i, j = np.unravel_index(index, wrong.shape)
        if wrong[i, j]:
            rows.append(
                {
                    "true": labels[i],
                    "predicted": labels[j],
                    "of_class": 100 * wrong[i, j] / total[i],
                    "of_all": 100 * wrong[i, j] / total.sum(),
                }
            )
    return rows


def changed_keys(run: Run, earlier: Run) -> list[tuple[str, object, object]]:
    """Config keys with other values than those of the earlier run, with the value of each."""
    changed = differences(run.cfg, earlier.cfg)
    return [(key, *values) for key, values in changed.items() if key not in OWN_KEYS]


def evaluation_command(run: Run) -> str:
    """The command that evaluates a run again and keeps the predictions."""
    config = next(f for f in CONFIGS if (run.folder / f).is_file())
    final = run.folder / "model_final.pth"
    if (run.folder / "last_checkpoint").is_file():
        weights = ["--resume"]
    elif run.cfg.MODEL.WEIGHTS or not final.is_file():
        weights = ["MODEL.WEIGHTS", run.cfg.MODEL.WEIGHTS or "FILE"]
    else:
        weights = ["MODEL.WEIGHTS", str(final)]
    options = ["OUTPUT_DIR", str(run.folder), "TEST.SAVE_PANOPTIC", "True"]
    options += ["TEST.STOCK_PANOPTIC_EVALUATOR", "False"]
    if tuple(run.cfg.DATASETS.TEST) != (run.dataset,):
        options += ["DATASETS.TEST", f"('{run.dataset}',)"]
    start = ["efficientps-d2", "evaluate", "--config-file", str(run.folder / config)]
    return shell_command([*start, *weights, *options], needs_datasets=True)


def _first(run: Run | None, keys) -> float | None:
    """The first of these results that a run has."""
    if run is None:
        return None
    return next((run.results[key] for key in keys if key in run.results), None)
