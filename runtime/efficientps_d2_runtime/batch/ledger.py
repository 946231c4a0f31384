"""What all workers ask: the model, what is done, and the images on which workers have died."""

from collections import Counter

TRIES = 3  # of an image whose worker dies
LOADS = 3  # of a worker, if none ever comes to an end


class Ledger:
    """Lives in a process of its own, which outlives workers.

    Before a worker reads an image it says so here. If it is killed, the next one that gets the
    shard learns which images were then in work, and reads and predicts one at a time. The image
    that kills its worker again and again is found so, and given up after ``TRIES``.
    """

    def __init__(self, workers: int, files: dict[str, bytes]):
        """
        Args:
            workers: how many there are.
            files: of the model, by name.
        """
        self._files = files
        self._in_work: dict[int, list[int]] = {}  # of a shard: positions of images
        self._deaths: dict[int, Counter] = {}
        self._done: Counter = Counter()  # images of each shard, so that a repetition is not twice
        self._most_loads, self._loads = workers * LOADS, 0

    def model_files(self) -> dict[str, bytes] | None:
        """A worker loads the model; None if it is to give up, since so many have died there."""
        self._loads += 1
        return self._files if self._loads <= self._most_loads else None

    def loaded(self) -> None:
        """The model is there."""
        self._loads = 0

    def begin(self, shard: int) -> dict[int, int]:
        """A worker begins a shard; returns how many have died on which of its images."""
        deaths = self._deaths.setdefault(shard, Counter())
        deaths.update(self._in_work.pop(shard, []))
        self._done[shard] = 0
        return dict(deaths)

    def work_on(self, shard: int, positions: list[int], done: int) -> None:
        """Images that are read, predicted or written now, and how many are complete."""
        self._in_work[shard], self._done[shard] = positions, done

    def end(self, shard: int, images: int) -> None:
        """A shard is finished."""
        self._in_work.pop(shard, None)
        self._deaths.pop(shard, None)
        self._done[shard] = images

    def done(self) -> int:
        """Images that are complete, of all shards of this start."""
        return self._done.total()
