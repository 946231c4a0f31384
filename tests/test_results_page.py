"""Published results fit and name their sources; measured ones are those of the benchmarks."""

import re

import pytest
from project import ROOT

PAGE = (ROOT / "docs" / "RESULTS.md").read_text()
README = (ROOT / "README.md").read_text()

THINGS_AND_STUFF = {"COCO": (80, 53), "Cityscapes": (8, 11)}
TRIPLE = ["PQ", "PQ things", "PQ stuff"]
NUMBERS = [*TRIPLE, "SQ", "RQ", "AP", "mIoU"]
COLUMNS = ["model", "backbone", *NUMBERS, "source"]
# Rows of each table, and those of them that have all of TRIPLE: at least so many must be read.
ROWS = {
    "COCO val": (36, 26),
    "COCO test-dev": (16, 14),
    "Cityscapes val": (40, 13),
    "Cityscapes test": (10, 0),
}


def section(text: str, heading: str) -> str:
    """What stands between a heading of the second level and the next one."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def tables(text: str) -> list[tuple[str, list[list[str]]]]:
    """The Markdown tables: the heading above each, and its rows of cells, column names first."""
    found, heading, inside = [], "", False
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip().split("|")[1:-1]]
        if not inside:
            found.append((heading, []))
            inside = True
        rows = found[-1][1]
        rows.append(cells)
        assert len(cells) == len(rows[0]), f"{heading}: {line}"
    for heading, rows in found:
        assert set("".join(rows.pop(1))) == {"-"}, heading  # the line below the column names
    return found


def is_percentage(cell: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", cell) is not None and float(cell) <= 100


def check_published(page: str) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Rows and complete rows of each published table, and what is wrong in them."""
    sources = re.findall(r"^\* (.+?):", page.split("\n## Sources\n")[1], re.MULTILINE)
    counts, problems = {}, []
    for heading, (columns, *rows) in tables(page):
        assert columns == COLUMNS and heading not in counts, heading
        things, stuff = THINGS_AND_STUFF[heading.split()[0]]
        complete = 0
        for cells in rows:
            row = dict(zip(columns, cells, strict=True))
            place = f"{heading}: {row['model']}, {row['backbone']}"
            if not any(source in row["source"] for source in sources):
                problems.append(f"{place}: source {row['source']!r}")
            for name in NUMBERS:
                if not is_percentage(row[name]) and (row[name] != "-" or name == "PQ"):
                    problems.append(f"{place}: {name} {row[name]!r}")
            if not all(is_percentage(row[name]) for name in TRIPLE):
                continue
            complete += 1
            pq, pq_things, pq_stuff = (float(row[name]) for name in TRIPLE)
            mean = (things * pq_things + stuff * pq_stuff) / (things + stuff)
            if abs(pq - mean) > 0.11:
                problems.append(f"{place}: PQ {pq}, but things and stuff make {mean:.2f}")
        counts[heading] = (len(rows), complete)
    return counts, problems


def test_published_rows_have_sources_and_pq_fits_things_and_stuff():
    counts, problems = check_published(PAGE)
    assert not problems, "\n".join(problems)
    assert list(counts) == list(ROWS)
    for heading, (rows, complete) in ROWS.items():
        assert counts[heading][0] >= rows and counts[heading][1] >= complete, heading


@pytest.mark.parametrize(
    "right, wrong, problem",
    [
        ("| 61.2 | 54.0 | 66.4 |", "| 61.2 | 66.4 | 54.0 |", "things and stuff make 59.22"),
        ("| 43.4 | 48.2 | 36.3 |", "| 43.4 | 48.2 | 35.3 |", "things and stuff make 43.06"),
        ("| 82.1 | OneFormer paper; note 2 |", "| 82.1 | |", "source ''"),
        ("| 77.1 | 50.6 |", "| 77.1 | |", "RQ ''"),
        ("| 77.1 | 50.6 |", "| 771 | 50.6 |", "SQ '771'"),
        ("| 77.1 | 50.6 |", "| 77.1 | ? |", "RQ '?'"),
        ("| 67.1 |", "| - |", "PQ '-'"),
    ],
)
def test_the_check_finds_what_is_wrong(right, wrong, problem):
    """The first is how the source prints Panoptic (Merge): with things and stuff exchanged."""
    assert PAGE.count(right) == 1
    _, problems = check_published(PAGE.replace(right, wrong))
    assert any(problem in line for line in problems), problems


README_RESULTS = section(README, "Results")


def cells_of(text: str) -> list[list[str]]:
    """The rows of the tables of a page."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def shown_in(text: str) -> dict[tuple[str, str], str]:
    """PQ by dataset and network of a table of the README."""
    (_, *datasets), _, *rows = cells_of(text)
    return {(d, row): pq for row, *values in rows for d, pq in zip(datasets, values, strict=True)}


def test_results_in_the_readme_are_those_of_the_benchmarks():
    benchmarks = section(
        (ROOT / "docs" / "COMPARISON.md").read_text(), "EfficientPS and Panoptic FPN"
    )
    measured, dataset = {}, ""
    for first, *rest in cells_of(benchmarks):
        if "iterations" in first:
            dataset = first.partition(",")[0]
        elif dataset and len(rest) == 6:  # seeds, PQ and other metrics
            measured[dataset, first.removesuffix(" (H200)")] = rest[1].partition(" ")[0]
    shown = shown_in(README_RESULTS.partition("150 iterations")[0])
    assert len(shown) == 9 and shown == {place: measured[place] for place in shown}
    for rate in re.findall(
        r"reaches (.*?) on cars and (.*?) on painted", README.replace("\n", " ")
    )[0]:
        assert f"gives {rate}" in benchmarks


def test_results_after_few_iterations_are_those_of_the_comparison():
    compared = section(
        (ROOT / "docs" / "COMPARISON.md").read_text(), "All networks after 150 iterations"
    )
    measured, dataset = {}, ""
    for first, pq, *_ in cells_of(compared):
        dataset = first if pq == "PQ" else dataset
        measured.setdefault((dataset, first), pq.partition(" ")[0])
    shown = shown_in(README_RESULTS.partition("150 iterations")[2])
    assert len(shown) == 12 and shown == {place: measured[place] for place in shown}


def test_nothing_of_ours_is_among_published_results():
    assert ".yaml" not in PAGE and "this project" in PAGE.split("\n## ")[0]
