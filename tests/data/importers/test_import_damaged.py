"""Damaged and hostile sources: one sentence or a reported repair, and nothing outside DEST."""

import random
import shutil
import warnings
from pathlib import Path

import damaged_cvat
import damaged_labelme
import damaged_masks
import pytest
from damaged_sources import MAKE
from import_sources import labelme_shape, read_split, rectangle, run, write_labelme
from project import Refused, run_verb

TABLES = (damaged_labelme, damaged_cvat, damaged_masks)
REFUSED = {key: case for table in TABLES for key, case in table.REFUSED.items()}
REPAIRED = {key: case for table in TABLES for key, case in table.REPAIRED.items()}
assert len(REFUSED) == sum(len(table.REFUSED) for table in TABLES), "each name once"


def snapshot(folder: Path) -> dict:
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if "mine" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize("case", REFUSED)
def test_damage_is_one_sentence(tmp_path, case):
    tool, write, message = REFUSED[case]
    write(tmp_path / "source")
    before = snapshot(tmp_path)
    with pytest.raises(Refused, match=message) as error:
        run(tool, tmp_path / "source", tmp_path / "mine")
    sentence = str(error.value)
    assert sentence.startswith("Error: ") and sentence.endswith(".") and "\n" not in sentence
    assert snapshot(tmp_path) == before and not (tmp_path / "mine").exists()


def test_all_damaged_files_are_named_at_once(tmp_path, capsys):
    for name in ("a", "b", "c", "d"):
        road = labelme_shape("road", rectangle(0, 6, 16, 12))
        write_labelme(tmp_path / "source", [road], f"{name}.jpg")
    (tmp_path / "source" / "b.json").write_text("{")
    (tmp_path / "source" / "c.jpg").write_bytes(b"no image")
    (tmp_path / "source" / "d.jpg").unlink()
    before = snapshot(tmp_path)
    labels = ("--things", "car", "--stuff", "road")
    assert run_verb("import", "labelme", tmp_path / "source", tmp_path / "mine", *labels) == 1
    errors = capsys.readouterr().err
    head, *lines = errors[errors.index("Error:") :].splitlines()
    assert head == "Error: 3 things must be corrected:"
    assert all(n in line for n, line in zip(("b.json", "c.jpg", "d.json"), lines, strict=True))
    assert all(line.endswith(".") for line in lines)
    assert snapshot(tmp_path) == before and not (tmp_path / "mine").exists()


@pytest.mark.parametrize("case", REPAIRED)
def test_repairs_are_reported(tmp_path, case, capsys):
    tool, write, message = REPAIRED[case]
    write(tmp_path / "source")
    before = snapshot(tmp_path)
    run(tool, tmp_path / "source", tmp_path / "mine")
    assert message in capsys.readouterr().out
    (gt,) = read_split(tmp_path / "mine" / "train").values()
    assert [s["name"] for s in gt.segments] == ["road"] and gt.segments[0]["area"] == 96
    assert snapshot(tmp_path) == before


def test_self_crossing_polygon_keeps_both_halves(tmp_path):
    bow = labelme_shape("car", [[2, 2], [10, 10], [10, 2], [2, 10]])
    write_labelme(tmp_path / "source", [bow])
    run("labelme", tmp_path / "source", tmp_path / "mine")
    (gt,) = read_split(tmp_path / "mine" / "train").values()
    (mask,) = gt.objects("car")
    assert mask[6, 2] and mask[6, 9] and not mask[2, 6] and not mask[9, 6]


@pytest.mark.parametrize("tool", MAKE)
def test_random_damage_never_ends_in_a_traceback(tmp_path, tool):
    """Bytes are changed, cut out or doubled in every file; only sentences may come out."""
    rng = random.Random(tool)
    MAKE[tool](tmp_path / "good")
    refused = 0
    for i in range(30):
        source = tmp_path / "source"
        shutil.copytree(tmp_path / "good", source)
        file = rng.choice(sorted(f for f in source.rglob("*") if f.is_file()))
        data = bytearray(file.read_bytes())
        at = rng.randrange(len(data))
        length = rng.choice([1, 1, 1, 4, 40])
        data[at : at + length] = rng.choice([b"", rng.randbytes(length), data[at : at + 9] * 3])
        file.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about odd files
            try:
                run(tool, source, tmp_path / f"mine{i}")
            except Refused as error:
                refused += 1
                assert str(error).startswith("Error: ")
                assert not (tmp_path / f"mine{i}").exists()
        shutil.rmtree(source)
        shutil.rmtree(tmp_path / f"mine{i}", ignore_errors=True)
    assert 0 < refused < 30 and [f.name for f in tmp_path.iterdir()] == ["good"]
