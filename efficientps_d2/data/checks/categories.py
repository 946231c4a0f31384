"""The classes of a dataset, read from its JSON without trusting it."""

from collections.abc import Callable
from typing import NamedTuple

from efficientps_d2.data.checks.problems import shown
from efficientps_d2.data.coco_fields import COLOR_CURE, read_colors
from efficientps_d2.data.coco_panoptic import IGNORE_LABEL


class Category(NamedTuple):
    """A class of the dataset."""

    name: str
    isthing: bool


def is_id(value: object) -> bool:
    """Whether a JSON value can be an id: a whole number or a text."""
    return isinstance(value, (int, str)) and not isinstance(value, bool) and value != ""


def read_categories(entries: list, known: dict | None, dataset: str, report: Callable) -> dict:
    """:class:`Category` by dataset id, of all entries that have an id.

    Args:
        entries: "categories" of the JSON.
        known: the categories that the registration of the dataset fixes, if it does.
        dataset: its name.
        report: takes kind and text of a problem.
    """
    categories, names = {}, set()
    _check_colors(entries, report)
    for category in entries:
        usable = isinstance(category, dict) and is_id(category.get("id"))
        name = category.get("name") if usable else None
        # "no" would be taken as a thing.
        if not (isinstance(name, str) and name and category.get("isthing") in (0, 1)):
            text = f"category {shown(category)} needs an id, a name and isthing 0 or 1"
            report("damaged category", text)
        if not usable:
            continue
        id_ = category["id"]
        if id_ in categories:
            report("duplicate category id", f"two categories have the id {shown(id_)}")
            continue
        categories[id_] = Category(shown(name), bool(category.get("isthing")))
        if shown(name) in names:
            report("duplicate category name", f"two categories have the name {shown(name)}")
        names.add(shown(name))
        if known is not None and (
            id_ not in known or known[id_].isthing != categories[id_].isthing
        ):
            text = f"category {shown(id_)}, {shown(name)}, is not among those of {dataset}"
            report("category that differs", f"{text} or not of the same kind there")
    things = sum(c.isthing for c in categories.values())
    if not 0 < things < len(categories) < IGNORE_LABEL:
        text = f"{len(categories)} categories, {things} of them things: at least one thing and one"
        report("class list", f"{text} stuff class are needed, and at most {IGNORE_LABEL - 1}")
    return categories


def _check_colors(entries: list, report: Callable) -> None:
    entries = [entry for entry in entries if isinstance(entry, dict)]
    colors = [entry.get("color") for entry in entries]
    for entry, color, read in zip(entries, colors, read_colors(colors), strict=True):
        if color and read is None:
            name = shown(entry.get("name", entry.get("id")))
            text = f"category {name} has the color {shown(color)}: {COLOR_CURE}"
            report("damaged category", text)
