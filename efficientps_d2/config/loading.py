"""Loading of configs, with errors that name the key and the cure."""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg

from efficientps_d2.config.check import check_values
from efficientps_d2.config.defaults import add_efficientps_config
from efficientps_d2.config.keys import flat_items, value_of
from efficientps_d2.config.yaml_file import read_config
from efficientps_d2.utils.shipped import shipped_folder
from efficientps_d2_runtime.errors import InputError

# What Detectron2's config raises for wrong keys, values and files.
BAD_VALUE = (KeyError, ValueError, TypeError, AttributeError, AssertionError, SyntaxError)
BAD_VALUE += (RecursionError, MemoryError)  # of texts that would be lists nested too deeply
AUTO = "auto"
ADDRESS = re.compile(r"[\w+-]{2,}:")  # such as https:, hf-hub:, detectron2:
WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
KINDS = {
    bool: "give True or False",
    int: "give a whole number",
    float: "give a number",
    str: "give a text",
    tuple: "give a list, of one name as \"('name',)\"",
    list: "give a list, of one name as \"('name',)\"",
}
# On Detectron2's own server.
BACKBONES = re.compile(r"detectron2://ImageNetPretrained/[\w-]+/[\w-]+\.pkl")


def get_config(name: str, overrides: list[str] | None = None) -> CN:
    """A config that comes with this project, such as "efficientps_cityscapes".

    Args:
        name: of a file in ``configs/``, without suffix.
        overrides: as for :func:`load_config`.

    Raises:
        InputError: if there is no such config, or an override is wrong.
    """
    folder = shipped_folder("configs")
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in names:
        raise InputError(f'There is no config "{name}"; take one of {", ".join(names)}.')
    return load_config(str(folder / f"{name}.yaml"), overrides)


def find_config(config_file: str) -> str:
    """The path of a config: of one of this project if it is named so and is not there itself."""
    shipped = shipped_folder("configs") / f"{Path(config_file).stem}.yaml"
    elsewhere = str(Path(config_file).parent) not in (".", "configs")
    if config_file and not (elsewhere or os.path.exists(config_file)) and shipped.is_file():
        return str(shipped)
    return config_file


def load_config(
    config_file: str,
    overrides: list[str] | None = None,
    *,
    inside: str = "",
    only_read: bool = False,
) -> CN:
    """Read a config file of this project.

    Keys whose value is "auto" keep their default and are listed in ``AUTO``.

    Args:
        config_file: YAML file, or one that comes with this project, such as
            "efficientps_streets" or "configs/efficientps_streets.yaml" in any folder; ``_BASE_``
            is relative to it, or one that comes with this project.
        overrides: alternating keys and values, as on the command line.
        inside: folder that no ``_BASE_`` may leave; "" for any.
        only_read: nothing is built of the config, so that it may name addresses.

    Raises:
        InputError: if the file is missing or a key or value is wrong; the message names it. Also
            if weights or a network would be fetched from an address that only the file names.
    """
    if not config_file:
        raise InputError("--config-file is missing; give one, such as those of configs/.")
    config_file = find_config(config_file)
    if not os.path.isfile(config_file):
        raise InputError(f'--config-file "{config_file}" does not exist; see the folder configs/.')
    keys = read_config(config_file, find_config, inside)
    cfg = get_cfg()
    add_efficientps_config(cfg)
    try:
        content = CN(keys)
        auto = list(_pop_auto(content))
        _make_fractions(content, cfg)
        cfg.merge_from_other_cfg(content)
        cfg.AUTO = [*cfg.AUTO, *auto]  # a saved config has an AUTO of its own
        for key in cfg.AUTO:
            value_of(cfg, key)
    except BAD_VALUE as error:
        raise InputError(f"{config_file}: {_sentence(error)}; correct that key.") from error
    if not only_read:
        _refuse_addresses(cfg, config_file, (overrides or [])[::2])
    _override(cfg, overrides or [])
    check_values(cfg)
    return cfg


def _refuse_addresses(cfg: CN, config_file: str, overridden: list[str]) -> None:
    """A config may come from anyone; what is fetched, its user decides."""
    for key in ("MODEL.WEIGHTS", "MODEL.EFFICIENTNET.NAME", "MODEL.EFFICIENTNET.WEIGHTS"):
        value = str(value_of(cfg, key)).strip()
        if ADDRESS.match(value) and not BACKBONES.fullmatch(value) and key not in overridden:
            raise InputError(
                f"{config_file}: {key} is {value!r}, which would be fetched from a network; if you "
                f"trust it, give {key} on the command line, too."
            )


def _override(cfg: CN, overrides: list[str]) -> None:
    if len(overrides) % 2:
        text = " ".join(map(str, overrides))
        raise InputError(
            f"Config overrides {text!r}: give pairs KEY VALUE, after all flags such as --resume."
        )
    pairs = dict(zip(overrides[::2], overrides[1::2], strict=True))
    auto = [key for key, value in pairs.items() if value == AUTO]
    for key, value in pairs.items():
        _refuse_parts(key, value)
    try:
        values = {k: _fraction(v, value_of(cfg, k)) for k, v in pairs.items() if k not in auto}
        cfg.merge_from_list([x for pair in values.items() for x in pair])
        for key in auto:
            value_of(cfg, key)
    except BAD_VALUE as error:
        text = _sentence(error)
        raise InputError(f"Config overrides: {text}; {_cure(cfg, pairs, text)}.") from error
    cfg.AUTO = [key for key in cfg.AUTO if key not in pairs] + auto


def _make_fractions(content: CN, cfg: CN) -> None:
    """Whole numbers become fractions, in place, where ``cfg`` has one: yacs refuses them."""
    for key in content.keys() & cfg.keys():
        if isinstance(content[key], CN) and isinstance(cfg[key], CN):
            _make_fractions(content[key], cfg[key])
        else:
            content[key] = _fraction(content[key], cfg[key])


def _fraction(value: object, former: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    whole |= isinstance(value, str) and WHOLE.fullmatch(value) is not None
    return float(value) if whole and isinstance(former, float) else value


def _cure(cfg: CN, pairs: dict, text: str) -> str:
    """What to do about overrides that the config refuses with a text."""
    known = [key for key, _ in flat_items(cfg)]
    for key in pairs:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1, cutoff=0.8)
            return f"write {close[0]} for {key}" if close else f"there is no key {key}"
    key = text.rpartition("config key: ")[2]
    kind = type(value_of(cfg, key)) if key in known else None
    return KINDS.get(kind, "give a value of the right type")


def _pop_auto(node: CN, prefix: str = "") -> Iterator[str]:
    """Remove the keys whose value is "auto", and give their full names."""
    for name, value in list(node.items()):
        if isinstance(value, CN):
            yield from _pop_auto(value, f"{prefix}{name}.")
        elif value == AUTO:
            del node[name]
            yield f"{prefix}{name}"
        else:
            _refuse_parts(f"{prefix}{name}", value)


def _refuse_parts(key: str, value: object) -> None:
    if isinstance(value, (list, tuple, str)) and f"'{AUTO}'" in str(value):
        raise InputError(f'{key} is {value}, with "auto" inside; give "auto" alone, or a value.')


def without_cuda(cfg: CN) -> CN:
    """A copy of ``cfg`` for the CPU, which has no synchronised batch norm."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "cpu"
    model = cfg.MODEL
    for node in (model.EFFICIENTNET, model.FPN, model.SEM_SEG_HEAD, model.ROI_MASK_HEAD):
        if "SyncBN" in node.NORM:
            node.NORM = "BN"
    return cfg


def _sentence(error: Exception) -> str:
    # The text of a KeyError is in quotes.
    text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) < 400 else f"{text[:200]} ... {text[-200:]}"  # a value may be long
