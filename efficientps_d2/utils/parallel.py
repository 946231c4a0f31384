"""Work on many images in several processes, with a progress bar."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from tqdm import tqdm

from efficientps_d2_runtime.errors import InputError


def map_images(function: Callable, items: list, processes: int, title: str) -> Iterator:
    """Results of ``function`` of each item, in order, from several processes.

    Raises:
        InputError: if a process dies.
    """
    bar = partial(tqdm, total=len(items), desc=title, unit="image")
    if processes == 1:
        yield from bar(map(function, items))
        return
    with _pool(processes) as pool:
        yield from bar(pool.map(function, items, chunksize=4))


def map_parts(
    function: Callable, parts: Iterator[Sized], processes: int, title: str, total: int
) -> Iterator:
    """Results of ``function`` of each part, in order; few parts are held at a time.

    Args:
        function: of a part.
        parts: with as many images as their length.
        processes: how many.
        title, total: of the progress bar, which counts images.

    Raises:
        InputError: if a process dies.
    """
    waiting: deque[tuple[int, Future]] = deque()
    with _pool(processes) as pool, tqdm(desc=title, total=total, unit="image") as bar:

        def results(most: int) -> Iterator:
            while len(waiting) > most:
                images, future = waiting.popleft()
                yield future.result()
                bar.update(images)

        for part in parts:
            waiting.append((len(part), pool.submit(function, part)))
            yield from results(2 * processes)
        yield from results(0)


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with the block, and with this one."""
    pool = ProcessPoolExecutor(processes, initializer=_obey_the_parent)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "A process that reads images died, probably for lack of memory; use fewer processes."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _obey_the_parent() -> None:
    """Let the parent alone answer to Ctrl-C, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's handler, which a fork inherits
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
