"""Imports go one way, so that a part can be read without those that build on it.

`runtime/` is below all: a test of its own looks at what that imports.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "efficientps_d2"
# A sub-package imports only from itself and from those left of it.
ORDER = (
    *("utils", "config", "data", "checkpoint", "modeling", "evaluation"),
    *("deploy", "prediction", "engine", "report", "web"),
)
OF_DATA = {"modeling": {"classes"}}  # all that networks take of data
BANNED = {"evaluation": {"modeling", "checkpoint"}}  # evaluators see dicts


def imported(file: Path) -> list[tuple[str, ...]]:
    """Parts of the names of this package's modules that a file imports, also inside functions."""
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            names.append(node.module)
    parts = [tuple(name.split(".")) for name in names]
    return [name[1:] for name in parts if name[0] == PACKAGE.name]


FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file.parent != PACKAGE]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_one_way(file):
    part = file.relative_to(PACKAGE).parts[0]
    for name in imported(file):
        assert name, "the package itself imports all of its parts"
        assert ORDER.index(name[0]) <= ORDER.index(part), name
        assert name[0] not in BANNED.get(part, ()), name
        if name[0] == "data" and part in OF_DATA:
            assert name[1] in OF_DATA[part], name


def test_every_part_has_its_place():
    assert {file.relative_to(PACKAGE).parts[0] for file in FILES} == set(ORDER)
