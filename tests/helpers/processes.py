"""Two processes of a process group, as two GPUs have."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from forked_commands import forkserver
from scenes import register_dataset
from torch import distributed

LONGEST = 120  # seconds


def in_two_processes(
    function: Callable, folder: Path, *arguments, datasets: Mapping[str, Path] | None = None
) -> list:
    """What ``function(rank, *arguments)`` gives in each of two processes that know each other.

    They are not forks of this process, for one that computed gradients has no children that can:
    ``function`` is of a module, and ``datasets`` (name to folder) are registered there too.
    """
    context = forkserver()
    address, started = f"file://{folder}/rendezvous", []
    for rank in range(2):
        receiver, sender = context.Pipe(duplex=False)
        given = (rank, address, datasets or {}, sender, function, arguments)
        process = context.Process(target=_process, args=given)
        process.start()
        sender.close()  # so that the end of the process is seen
        started.append((process, receiver))
    results = []
    for process, receiver in started:
        assert receiver.poll(LONGEST), "a process hangs"
        try:
            results.append(receiver.recv())
        except EOFError:
            process.join()
            raise AssertionError(f"a process ended with {process.exitcode}") from None
        process.join()
    return results


def _process(rank, address, datasets, sender, function, arguments) -> None:
    try:
        torch.set_num_threads(1)
        for name, dataset in datasets.items():
            register_dataset(name, dataset)
        distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
        sender.send(function(rank, *arguments))
        distributed.destroy_process_group()
    except BaseException:
        sender.send(traceback.format_exc())
