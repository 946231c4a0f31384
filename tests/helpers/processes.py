"""Two processes of a process group, as two GPUs have."""

import multiprocessing
import traceback
from pathlib import Path

import torch
from torch import distributed


def in_two_processes(function, folder: Path, *arguments) -> list:
    """What ``function(rank, *arguments)`` gives in each of two processes that know each other."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def process(rank: int) -> None:
        try:
            torch.set_num_threads(1)
            address = f"file://{folder}/rendezvous"
            distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
            queue.put((rank, function(rank, *arguments)))
        except BaseException:
            queue.put((rank, traceback.format_exc()))

    processes = [context.Process(target=process, args=(rank,)) for rank in range(2)]
    for started in processes:
        started.start()
    results = dict(queue.get() for _ in processes)
    for ended in processes:
        ended.join()
    return [results[rank] for rank in range(2)]
