"""A command that is killed at any moment loses nothing, and the next one succeeds.

`make test-faults` kills every command several times; `make test` kills one once.
"""

import random
import signal
import time

import pytest
from fault_cases import CASES, TRIES, alive, end_all, make_world

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("name", CASES if TRIES else ("import",))
def test_a_killed_command_loses_nothing(name, tmp_path):
    case = CASES[name]
    seconds = case.complete(make_world(tmp_path / "whole", name))
    rng = random.Random(name)
    for i in range(TRIES or 1):
        world = make_world(tmp_path / str(i), name)
        before = case.inputs(world)
        process = case.start(world)
        number = SIGNALS[(i + 1) % 3]
        time.sleep(rng.uniform(0.2, 1) * seconds)
        process.send_signal(number)
        process.wait(60)
        end = time.monotonic() + 10
        while (left := alive(process.pid)) and time.monotonic() < end:
            time.sleep(0.1)
        end_all(process.pid)
        what = f"{number.name}, try {i}"
        assert not left, f"children live after {what}"
        assert case.inputs(world) == before, what
        case.whole(world)
        if not (case.keeps and (world / case.outputs[0]).exists()):  # killed at its very end
            case.complete(world)
        assert case.inputs(world) == before and not case.leftovers(world), what
