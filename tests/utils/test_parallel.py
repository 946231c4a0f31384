"""Work in several processes: results in order, and an end when it must end."""

import multiprocessing
import os
import signal
import sys
import time

import pytest

from efficientps_d2 import InputError
from efficientps_d2.utils.parallel import map_images


def double(number):
    return 2 * number


def signal_handlers(_):
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def die(_):
    os._exit(9)


def leave_a_trace(folder_and_number):
    folder, number = folder_and_number
    time.sleep(0.01)
    (folder / str(number)).touch()


@pytest.mark.parametrize("processes", [1, 2])
def test_results_are_in_order(processes):
    assert list(map_images(double, list(range(20)), processes, "")) == list(range(0, 40, 2))


def test_only_the_parent_cleans_up_after_signals():
    """Otherwise every child would print a traceback, or go on after SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        handlers = list(map_images(signal_handlers, [0], 2, ""))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == [(signal.SIG_IGN, signal.SIG_DFL)]


def test_a_killed_child_is_one_sentence():
    with pytest.raises(InputError, match="died, probably for lack of memory"):
        list(map_images(die, [0], 2, ""))


def test_what_is_not_begun_when_it_stops_is_never_done(tmp_path):
    results = map_images(leave_a_trace, [(tmp_path, i) for i in range(200)], 2, "")
    next(results)
    results.close()
    assert len(list(tmp_path.iterdir())) < 100


def slow_traces(folder_and_number):
    folder, number = folder_and_number
    (folder / str(number)).touch()
    time.sleep(0.2)


def test_children_end_with_a_parent_that_is_killed(tmp_path):
    parent = multiprocessing.get_context("fork").Process(
        target=lambda: list(map_images(slow_traces, [(tmp_path, i) for i in range(400)], 2, "x"))
    )
    parent.start()
    while not list(tmp_path.iterdir()):
        time.sleep(0.05)
    parent.kill()
    parent.join()
    time.sleep(2)
    count = len(list(tmp_path.iterdir()))
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) == count < 100
