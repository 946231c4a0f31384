"""Which images each iteration of a training draws, and how they are augmented.

Both follow from the seed and the position in the stream of images alone, so that a resumed training
sees what it would have seen, whatever the number of loader processes.
"""

import contextlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch.utils.data import Dataset, Sampler

Draw = tuple[int, int]  # position in the stream of images, index of a record


class TrainingBatches(Sampler[list[Draw]]):
    """Endless batches of this process, from any iteration on."""

    def __init__(self, sampler: Sampler[int], batch_size: int, groups: Sequence | None = None):
        """
        Args:
            sampler: one of Detectron2's, whose endless indices are the same in all processes.
            batch_size: of all processes together.
            groups: of each record; a batch holds images of one group only.
        """
        self.sampler, self.batch_size, self.groups = sampler, batch_size, groups
        sampler._rank, sampler._world_size = 0, 1  # all indices: batches are shared out here
        self.start_iteration = 0

    def __iter__(self) -> Iterator[list[Draw]]:
        for batch in islice(self._of_all_processes(), self.start_iteration, None):
            yield batch[comm.get_rank() :: comm.get_world_size()]

    def _of_all_processes(self) -> Iterator[list[Draw]]:
        waiting = defaultdict(list)
        for draw in enumerate(self.sampler):
            group = self.groups[draw[1]] if self.groups is not None else None
            waiting[group].append(draw)
            if len(waiting[group]) == self.batch_size:
                yield waiting.pop(group)


class TrainingSamples(Dataset):
    """Mapped records; each draw has random numbers of its own."""

    def __init__(self, records: list[dict], mapper: Callable[[dict], dict | None], seed: int):
        """
        Args:
            records: of the images.
            mapper: gives None for an image that cannot be read: another one is drawn.
            seed: of the training.
        """
        self.records, self.mapper, self.seed = DatasetFromList(records, copy=False), mapper, seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: Draw) -> dict:
        position, index = draw
        with seeded(self.seed, position):
            while (sample := self.mapper(self.records[index])) is None:
                index = random.randrange(len(self.records))
        return sample


@contextlib.contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Let random numbers on the CPU follow from ``numbers``, only within the block."""
    # Detectron2's augmentations draw from NumPy's global state.
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    seed_all(*numbers)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def seed_all(*numbers: int) -> None:
    """Seed Python, NumPy and PyTorch, on all devices, by several numbers from 0."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    seed_all_rng(seed)
