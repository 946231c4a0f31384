"""What README and docs point to exists."""

import argparse
import re
from pathlib import Path

import pytest
from project import ROOT

from efficientps_d2_cli.main import VERBS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text())
    for link in links:
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page):
    text = page.read_text()
    for name in re.findall(r"\b(?:configs|tools|docs|tests)/[\w\-/]+\.(?:yaml|py|md)\b", text):
        assert (ROOT / name).is_file(), name
    for name in re.findall(r"`([a-z_/]+\.py)`", text):
        found = [ROOT / folder / name for folder in ("", "efficientps_d2", "tools", "tests")]
        assert any(file.is_file() for file in found), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_verbs_and_flags_exist(page):
    """Of ``efficientps-d2 VERB --flag``, also over several lines of a block."""
    text = page.read_text().replace("\\\n", " ")
    for verb, rest in re.findall(r"efficientps-d2 ([a-z]+(?:-[a-z]+)?)([^\n`]*)", text):
        parser = argparse.ArgumentParser()
        VERBS[verb].add_arguments(parser)
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, f"{verb}{rest}"


def test_the_flags_of_predict_are_in_their_table():
    """And a default is that of the parser, where it is a word."""
    parser = argparse.ArgumentParser(add_help=False)
    VERBS["predict"].add_arguments(parser)
    known = {a.option_strings[0]: a for a in parser._actions if a.option_strings}
    text = (ROOT / "docs" / "PREDICTION.md").read_text()
    section = text.partition("## Flags of predict\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(--[a-z-]+)` \| .+ \| (.*?) ?\|$", section, re.MULTILINE)
    assert sorted(flag for flag, _ in rows) == sorted(known)
    for flag, default in rows:
        assert not isinstance(known[flag].default, str) or default == known[flag].default, flag


def test_every_part_of_the_package_is_explained():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folders = {file.parent for file in (ROOT / "efficientps_d2").rglob("__init__.py")}
    names = {str(folder.relative_to(ROOT / "efficientps_d2")) for folder in folders} - {"."}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
