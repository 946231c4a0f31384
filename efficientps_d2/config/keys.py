"""Keys of a config by their full names, such as "INPUT.CROP.SIZE"."""

from collections.abc import Iterator

from detectron2.config import CfgNode as CN


def flat_items(node: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Full names, such as "INPUT.CROP.SIZE", and values of all keys of a config or a YAML file."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from flat_items(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def has_semantic_head(cfg: CN) -> bool:
    """Whether the network gives ``sem_seg``, which Mask R-CNN does not."""
    return cfg.MODEL.SEM_SEG_HEAD.NAME != "NoSemSegHead"


def differences(cfg: CN, other: CN) -> dict[str, tuple[object, object]]:
    """The keys whose values differ, and both values; None where a config lacks the key.

    Lists and tuples of the same values are equal.
    """
    items, others = dict(flat_items(cfg)), dict(flat_items(other))
    return {
        key: (items.get(key), others.get(key))
        for key in sorted(items.keys() | others.keys())
        if _as_lists(items.get(key)) != _as_lists(others.get(key))
    }


def _as_lists(value: object) -> object:
    return [_as_lists(v) for v in value] if isinstance(value, (list, tuple)) else value


def value_of(cfg: CN, key: str):
    """The value of a key such as "INPUT.CROP.SIZE"."""
    for name in key.split("."):
        cfg = cfg[name]
    return cfg
