"""Measure networks side by side: each in a process of its own, one after the other in each round.

So what happens on the machine meanwhile happens to all of them.
"""

import argparse
import ctypes
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm


def options(description: str, networks: Iterable[str]) -> argparse.ArgumentParser:
    """Those of a tool that measures some of these networks in turns."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", choices=networks, default=[*networks])
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    return parser


def in_turns(
    networks: Iterable[str],
    build: Callable[[str], dict[str, float]],
    call: Callable[[], dict[str, float]],
    rounds: int,
    device: str,
) -> dict[str, dict[str, float]]:
    """Medians of what calls measure, by the name of a network.

    Args:
        networks: their names.
        build: makes the network of a name, in its process, and keeps it there; returns what holds
            for all calls.
        call: measures that network once.
        rounds: calls of each network.
        device: where they are. "memory" of the result is the megabytes that a call holds there at
            most, besides what it finds, such as weights.

    Raises:
        RuntimeError: if none is left: one that fails, say for lack of memory, is named, and the
            others go on.
    """
    context, pools, found = multiprocessing.get_context("spawn"), {}, {}
    with ExitStack() as stack:
        for name in tqdm(networks, desc="building", unit="network"):
            pools[name] = stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
            with _left_out(name, pools):
                found[name] = pools[name].submit(build, name).result()
        calls = {name: [] for name in pools}
        for _ in tqdm(range(rounds), desc="timing", unit="round"):
            for name, pool in list(pools.items()):
                with _left_out(name, pools):
                    calls[name].append(pool.submit(call).result())
        for name, pool in list(pools.items()):
            keys = calls[name][0]
            found[name] |= {key: float(np.median([c[key] for c in calls[name]])) for key in keys}
            with _left_out(name, pools):
                if device == "cpu":
                    found[name]["memory"] = peak(pool, call)
                else:
                    found[name]["memory"] = pool.submit(_peak_on_cuda, call).result()
    if not pools:
        raise RuntimeError("all networks failed, as said above")
    return {name: found[name] for name in pools}


@contextmanager
def _left_out(name: str, pools: dict) -> Iterator[None]:
    """Take a network whose process fails from those that are measured."""
    try:
        yield
    except Exception as error:  # of the network or of its process, of many kinds
        tqdm.write(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
        del pools[name]


def show(title: str, table: str, found: dict, file: Path | None) -> None:
    """Print what was found, and write it to a JSON if asked for."""
    print(title)
    print(table)
    if file:
        file.write_text(json.dumps(found, indent=1))


def trim() -> None:
    """Give memory that this process keeps back to the system."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _peak_on_cuda(call: Callable) -> float:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def peak(pool: ProcessPoolExecutor, function: Callable, *args) -> float:
    """Megabytes that the only process of a pool holds during a call, at most, above before.

    Free memory is given back first, so that the call is seen to take it. Looks every 2 ms.
    Libraries do not count: the system may drop or load their pages at any time.
    """
    pool.submit(trim).result()
    (pid,) = pool._processes
    before = most = _own_memory(pid)
    future = pool.submit(function, *args)
    while not future.done():
        most = max(most, _own_memory(pid))
        time.sleep(0.002)
    future.result()
    return (most - before) / 1024


def _own_memory(pid: int) -> int:
    """Kilobytes, from what Linux says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def use(device: str, threads: int) -> None:
    """Let a process compute there, without warnings that nobody can act on."""
    from efficientps_d2.utils.env import quiet_known_warnings  # seconds that others need not wait

    quiet_known_warnings()
    torch.set_num_threads(threads)
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


def now(device: str) -> float:
    """Milliseconds, when all work on the device that is used is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return 1000 * time.perf_counter()


def machine_peak(device: str, threads: int) -> float:
    """1e9 multiply-adds in a second, of a product of two large matrices."""
    use(device, threads)
    side = 8192 if device.startswith("cuda") else 2048
    a, times = torch.rand(side, side, device=device), []
    for _ in range(5):
        start = now(device)
        a @ a
        times.append((now(device) - start) / 1000)
    return side**3 / min(times) / 1e9
