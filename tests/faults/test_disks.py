"""A command that cannot write ends in one sentence, and what was there stays whole."""

import pytest
from fault_cases import CASES, TRIES, make_world

LIMIT = 500  # bytes of a file: as a full disk, but anyone can have it
LARGER = 100_000  # a config fits, a checkpoint does not
WRITES_LARGE_FILES = ("train", "convert", "convert to safetensors", "export")
FULL = [(name, LIMIT) for name in CASES] + [(name, LARGER) for name in WRITES_LARGE_FILES]


@pytest.mark.parametrize(("name", "limit"), FULL if TRIES else [("import", LIMIT)])
def test_a_full_disk_is_one_sentence(name, limit, tmp_path):
    case = CASES[name]
    world = make_world(tmp_path / "full", name)
    before = case.inputs(world)
    command = case.start(world, limit)
    status, output = command.wait(), command.text()
    assert status in (1, 2) and "Traceback" not in output, output[-3000:]
    assert output.splitlines()[-1].startswith("Error: "), output[-1000:]
    assert case.inputs(world) == before and not case.leftovers(world)
    case.whole(world)
    case.complete(world)


# The others write into a run folder, which is there.
MAKERS = [name for name, case in CASES.items() if case.outputs != ("run",)]


@pytest.mark.parametrize("name", MAKERS if TRIES else ("fix",))
def test_a_file_in_the_way_is_one_sentence(name, tmp_path):
    """As good as a folder that nobody may write, also for root."""
    case = CASES[name]
    world = make_world(tmp_path / "blocked", name)
    parent = world / "file"
    parent.touch()
    for i, argument in enumerate(arguments := list(case.arguments)):
        if argument in case.outputs:
            arguments[i] = f"file/{argument}"
    blocked = type(case)(arguments, ("file",), case.whole)
    command = blocked.start(world)
    assert command.wait() in (1, 2)
    output = command.text()
    assert "Traceback" not in output and "Error: " in output.splitlines()[-1], output[-2000:]
