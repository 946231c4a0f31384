"""A worker: a model in a process of its own that predicts one shard after the other."""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from efficientps_d2_runtime.batch.image_table import ImageSource
from efficientps_d2_runtime.batch.ledger import TRIES
from efficientps_d2_runtime.batch.output import Output
from efficientps_d2_runtime.batch.reading import ImageFiles
from efficientps_d2_runtime.batch.shard import ShardWriter
from efficientps_d2_runtime.batch.storage import Folder, why
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.result import PanopticResult

AHEAD = 4  # images that are read while others are predicted
BEHIND = 4  # PNGs that are written meanwhile
MANY = 8  # images, which do not all fail for reasons of their own


class Model(Protocol):
    """What predicts: a network of this package, or a predictor of efficientps_d2."""

    categories: list[dict]  # of COCO, by contiguous id

    def read(self, file: Path) -> np.ndarray:
        """The image in a file."""

    def predict(self, images: list[np.ndarray]) -> list[PanopticResult]:
        """Of images of one size."""


@dataclass(frozen=True)
class Job:
    """What all workers have to know; it is sent to them."""

    source: Folder  # the input
    column: str  # of its Parquet files
    output: Output
    load: Callable[[Path], Model]  # from a folder with the files of the model
    batch_size: int = 1
    threads: int = 1  # that read, and as many that write; more disturb a network on the CPU


class FailedError(Exception):
    """An image that cannot be predicted; ``is_odd`` if it may not be the image's fault."""

    def __init__(self, sentence: str, is_odd: bool = False):
        super().__init__(sentence)
        self.is_odd = is_odd


@dataclass
class InWork:
    """An image on its way; futures raise :class:`FailedError`."""

    position: int
    source: ImageSource
    image: Future  # np.ndarray
    written: Future | None = None  # the prediction, and the annotation of its PNG


class Worker:
    """Predicts shards. Reading, predicting and writing overlap, in bounded memory."""

    def __init__(self, job: Job, ledger):
        """
        Args:
            job: what is to be done.
            ledger: a :class:`Ledger`, or what asks one in another process.

        Raises:
            InputError: if the model cannot be loaded.
        """
        self.job, self.ledger = job, ledger
        self.files = ImageFiles(job.source, job.column)
        if (files := ledger.model_files()) is None:
            raise InputError(
                "Workers die while they load the model, maybe for lack of memory; give fewer "
                "--workers, or machines with more memory."
            )
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            self.model = job.load(Path(folder))
        ledger.loaded()

    def predict_shard(self, shard: int) -> tuple[int, int]:
        """Predict a shard, or find it finished; returns how many images it has, and failed.

        Raises:
            InputError: if the output cannot be written, or nothing at all can be read.
        """
        images, output = self.job.output.images(shard), self.job.output
        deaths = self.ledger.begin(shard)
        if output.is_finished(shard):  # before its worker was killed
            failed = len(output.errors(shard))
        else:
            failed = ShardInWork(self, shard, images, deaths).predict()
        self.ledger.end(shard, len(images))
        return len(images), failed

    def read(self, source: ImageSource) -> np.ndarray:
        """An image.

        Raises:
            FailedError: if it cannot be read.
        """
        file = None
        try:
            with self.files.file(source) as file:
                return self.model.read(file)
        except InputError as error:
            sentence, is_odd = str(error).replace(str(file), str(source)), file is None
            raise FailedError(sentence, is_odd) from error
        except (OSError, pa.ArrowInvalid) as error:
            is_odd = not isinstance(error, FileNotFoundError)
            raise FailedError(f"{source} cannot be read {why(error)}.", is_odd) from error
        except Exception as error:
            raise _unexpected(source, error) from error

    def predict(self, images: list[tuple[ImageSource, np.ndarray]]) -> list:
        """A prediction or a :class:`FailedError` for each image of a batch."""
        try:
            return self.model.predict([image for _, image in images])
        except Exception as error:  # whatever happens to one image, the others go on
            if len(images) > 1:
                return [self.predict([image])[0] for image in images]
            source = images[0][0]
            if isinstance(error, InputError):
                return [FailedError(f"{source}: {error}")]
            return [_unexpected(source, error)]


def _unexpected(source: ImageSource, error: Exception) -> FailedError:
    reason = f"{type(error).__name__}: {one_line(error)[:300].rstrip('.')}"
    return FailedError(f"{source} cannot be predicted ({reason}); leave it out.", True)


class ShardInWork:
    """The steps of one shard."""

    def __init__(self, worker: Worker, shard: int, images: list[ImageSource], deaths: dict):
        """
        Args:
            worker: it is predicted by.
            shard: its number.
            images: of it.
            deaths: how many workers have died on which of them, by position.
        """
        self.worker, self.shard, self.deaths = worker, shard, deaths
        self.images, self.left = images, iter(enumerate(images))
        self.writer = ShardWriter(worker.job.output, shard, worker.model.categories)
        self.batch = worker.job.batch_size
        self.most_ahead, self.most_behind = AHEAD + self.batch, BEHIND
        if deaths:  # one after the other, until it is known which image kills
            self.batch, self.most_ahead, self.most_behind = 1, 1, 0
        self.ahead: deque[InWork] = deque()
        self.behind: deque[InWork] = deque()
        self.done, self.odd = 0, []

    def predict(self) -> int:
        """Write the shard; returns how many images failed.

        Raises:
            InputError: if it cannot be written, or no image works for reasons of its own.
        """
        with ExitStack() as stack:
            readers, writers = (
                stack.enter_context(ThreadPoolExecutor(self.worker.job.threads)) for _ in range(2)
            )
            while self._read_ahead(readers):
                self._predict_next(writers)
                self._complete(self.most_behind)
            self._complete(0)
        self.writer.finish()
        return len(self.writer.errors.rows)

    def _read_ahead(self, readers: Executor) -> bool:
        """Begin to read the next images, and say so before; False when there are none left."""
        while len(self.ahead) < self.most_ahead and (following := next(self.left, None)):
            position, source = following
            item = InWork(position, source, Future())
            if self.deaths.get(position, 0) >= TRIES:
                item.image.set_exception(
                    FailedError(
                        f"{source} has ended its worker {TRIES} times, maybe for lack of memory; "
                        "leave it out, or give machines with more memory."
                    )
                )
            else:
                in_work = [x.position for x in (*self.behind, *self.ahead, item)]
                self.worker.ledger.work_on(self.shard, in_work, self.done)
                item.image = readers.submit(self.worker.read, source)
            self.ahead.append(item)
        return bool(self.ahead)

    def _predict_next(self, writers: Executor) -> None:
        """Predict the next images, which have one size, and begin to write them."""
        batch = list(self._next_batch())
        good = [(item, item.image.result()) for item in batch if not item.image.exception()]
        predictions = self.worker.predict([(i.source, image) for i, image in good]) if good else []
        for (item, _), prediction in zip(good, predictions, strict=True):
            item.written = writers.submit(self._write, item.source, prediction)
        for item in batch:
            item.written = item.written or item.image
            item.image = None  # its memory
            self.behind.append(item)

    def _next_batch(self) -> Iterator[InWork]:
        shape = None
        for _ in range(min(self.batch, len(self.ahead))):
            image = self.ahead[0].image
            if not image.exception():
                if shape and image.result().shape != shape:
                    return
                shape = image.result().shape
            yield self.ahead.popleft()

    def _write(self, source: ImageSource, prediction: PanopticResult) -> tuple:
        if isinstance(prediction, FailedError):
            raise prediction
        return prediction, self.writer.write_png(source, prediction)

    def _complete(self, most: int) -> None:
        """Wait until at most so many are being written; the others come into the tables."""
        while len(self.behind) > most:
            item = self.behind.popleft()
            try:
                prediction, annotation = item.written.result()
                self.writer.add(item.source, prediction, annotation)
            except FailedError as error:
                self.writer.add_error(item.source, str(error))
                self.odd += [str(error)] if error.is_odd else []
            self.done += 1
            if self.done == len(self.odd) == MANY and not self.worker.job.output.finished():
                raise InputError(f"None of {MANY} images worked, the first because: {self.odd[0]}")
