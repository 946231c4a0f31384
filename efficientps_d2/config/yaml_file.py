"""Read config files, which may come from anyone: nothing is fetched, run, or read without end."""

import os
from collections.abc import Callable
from pathlib import Path

import yaml

from efficientps_d2_runtime.errors import InputError, one_line

BASE = "_BASE_"
LARGEST = 100_000  # bytes of a file
MOST_NODES = 20_000  # with aliases written out
MOST_FILES = 30  # that are read for one config, by _BASE_


def read_config(file: str, find: Callable[[str], str] = str, inside: str = "") -> dict:
    """The keys of a file and of the file or files that its ``_BASE_`` names, whose own win.

    Args:
        file: YAML.
        find: gives the path of a config from its name where there is no such file.
        inside: the folder that no ``_BASE_`` may leave; "" for any.

    Raises:
        InputError: if a file is missing, too large, nested too deeply, or holds no keys, or if
            ``_BASE_`` is an address, leaves the folder, leads in a circle, or names too many files.
    """
    read = []

    def merged(file: str, chain: tuple[str, ...]) -> dict:
        read.append(file)
        if len(read) > MOST_FILES:
            raise InputError(f"{read[0]}: {BASE} leads to over {MOST_FILES} files; name fewer.")
        content = _read(file)
        bases = content.pop(BASE, [])
        chain = (*chain, os.path.realpath(file))
        keys: dict = {}
        for base in bases if isinstance(bases, list) else [bases]:
            path = _base_file(file, base, find, inside)
            if os.path.realpath(path) in chain:
                raise InputError(f"{file}: {BASE} {base} leads back to this file; name another.")
            _merge(merged(path, chain), keys, file)
        _merge(content, keys, file)
        return keys

    return merged(file, ())


def _base_file(file: str, base: object, find: Callable[[str], str], inside: str) -> str:
    if not isinstance(base, str) or not base or "://" in base or not base.isprintable():
        raise InputError(f"{file}: {BASE} is {base!r}; name a file on this computer.")
    if len(base) > 1000:
        raise InputError(f"{file}: {BASE} has more than 1000 letters; name a file.")
    path = os.path.join(os.path.dirname(file), os.path.expanduser(base))
    if inside and not Path(path).resolve().is_relative_to(Path(inside).resolve()):
        raise InputError(f"{file}: {BASE} {base} leads out of {inside}; put that file there.")
    if not os.path.exists(path):
        path = find(base)
    if not os.path.isfile(path):
        raise InputError(f"{file}: {BASE} {base} does not exist; correct its path.")
    return path


class _Loader(yaml.SafeLoader):
    """Without numbers to the base 60, whose reading takes long."""


def _whole_number(loader: _Loader, node: yaml.Node) -> int:
    if ":" in loader.construct_scalar(node) or len(node.value) > 30:
        raise yaml.YAMLError(f"{node.value[:30]} is no number that is read here")
    return loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _read(file: str) -> dict:
    try:
        if os.path.getsize(file) > LARGEST:
            raise InputError(f"{file} has more than {LARGEST} bytes; give a config file.")
        loader = _Loader(Path(file).read_text(encoding="utf-8"))
        root = loader.get_single_node()
        _check_size(file, root)
        content = loader.construct_document(root) if root else None
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise InputError(f"{file} cannot be read ({reason}); correct that.") from error
    except RecursionError as error:
        raise InputError(f"{file} is nested too deeply; give a config file.") from error
    # Tags with a wrong value end PyYAML in errors of many kinds.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"{file} is no YAML ({one_line(error)[:300]}); correct it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds no keys with values; give a config file.")
    return content


def _check_size(file: str, root: yaml.Node | None) -> None:
    """Refuse aliases that make much of little, or contain themselves."""
    sizes: dict[int, int] = {}  # by identity, since an alias is the node that it names

    def size(node: yaml.Node | None) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MOST_NODES  # what contains itself is too large
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                children = [part for pair in children for part in pair]
            sizes[id(node)] = min(1 + sum(map(size, children)), 10 * MOST_NODES)
        return sizes[id(node)]

    if size(root) > MOST_NODES:
        raise InputError(f"{file} has too many values for a config; give a config file.")


def _merge(new: dict, old: dict, file: str) -> None:
    """Put the values of ``new`` into ``old``."""
    for key, value in new.items():
        if isinstance(value, dict) and key in old:
            if not isinstance(old[key], dict):
                raise InputError(f"{file}: {key} holds keys, but is a value in {BASE}.")
            _merge(value, old[key], file)
        else:
            old[key] = value
