"""Two processes of a process group, as two GPUs have."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from commands import forkserver
from scenes import register_dataset
from torch import distributed


def in_two_processes(
    function: Callable, folder: Path, *arguments, datasets: Mapping[str, Path] | None = None
) -> list:
    """What ``function(rank, *arguments)`` gives in each of two processes that know each other.

    They are not forks of this process, for one that computed gradients has no children that can:
    ``function`` is of a module, and ``datasets`` (name to folder) are registered there too.
    """
    context = forkserver()
    queue = context.SimpleQueue()
    common = (f"file://{folder}/rendezvous", datasets or {}, queue, function, arguments)
    processes = [context.Process(target=_process, args=(rank, *common)) for rank in range(2)]
    for started in processes:
        started.start()
    results = dict(queue.get() for _ in processes)
    for ended in processes:
        ended.join()
    return [results[rank] for rank in range(2)]


def _process(rank, address, datasets, queue, function, arguments) -> None:
    try:
        torch.set_num_threads(1)
        for name, dataset in datasets.items():
            register_dataset(name, dataset)
        distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
        queue.put((rank, function(rank, *arguments)))
        distributed.destroy_process_group()
    except BaseException:
        queue.put((rank, traceback.format_exc()))
