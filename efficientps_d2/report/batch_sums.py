"""What the tables of a batch hold together, read shard by shard."""

import heapq
import random
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from efficientps_d2_runtime.batch.output import SEGMENTS, Manifest, Output, table_name

BINS = 20  # of scores from 0 to 1
FIRST_ERRORS = 50
COLUMNS = ["image_id", "category_id", "isthing", "score", "area"]


@dataclass(order=True)
class Example:
    """An image, by its mean score over its pixels in segments."""

    score: float
    shard: int
    image_id: str


@dataclass
class BatchSums:
    """Sums over all finished shards; arrays are by contiguous class id."""

    classes: int
    images: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)  # the first
    lowest: list[Example] = field(default_factory=list)
    random: list[Example] = field(default_factory=list)

    def __post_init__(self):
        self.segments, self.areas, self.with_class = (
            np.zeros(self.classes, dtype=np.int64) for _ in range(3)
        )
        self.scores = np.zeros(self.classes)
        self.histogram = np.zeros((2, BINS), dtype=np.int64)  # of stuff, of things


def sum_batch(output: Output, manifest: Manifest, examples: int) -> BatchSums:
    """Read the tables of an output, with a progress bar.

    Args:
        output: of ``predict-batch``.
        manifest: of it.
        examples: images that are kept of the lowest scores, and at random.

    Raises:
        InputError: if a table is missing or damaged.
    """
    ids = {category["id"]: i for i, category in enumerate(manifest.categories)}
    sums, chance, seen = BatchSums(len(ids)), random.Random(0), 0
    for shard in tqdm(sorted(output.finished()), desc="reading", unit=" shards"):
        sums.images += manifest.images_of(shard)
        errors = output.errors(shard)
        sums.failed += len(errors)
        sums.errors += [row["error"] for row in errors[: FIRST_ERRORS - len(sums.errors)]]
        found = _add_segments(sums, output, shard, ids)
        sums.lowest = heapq.nsmallest(examples, [*sums.lowest, *found])
        for example in found:
            seen += 1
            if len(sums.random) < examples:
                sums.random.append(example)
            elif (place := chance.randrange(seen)) < examples:
                sums.random[place] = example
    return sums


def _add_segments(sums: BatchSums, output: Output, shard: int, ids: dict) -> list[Example]:
    """Add the table of a shard; returns its images."""
    content = output.folder.read(SEGMENTS, table_name(shard))
    try:
        table = pq.read_table(BytesIO(content), columns=COLUMNS)
        classes = np.array([ids[i] for i in table["category_id"].to_pylist()], dtype=np.int64)
    except (OSError, ValueError, KeyError) as error:
        raise output.damaged(SEGMENTS, shard) from error
    areas, scores = (table[name].to_numpy() for name in ("area", "score"))
    sums.segments += np.bincount(classes, minlength=sums.classes)
    sums.areas += np.bincount(classes, areas, sums.classes).astype(np.int64)
    sums.scores += np.bincount(classes, scores, sums.classes)
    bins = np.clip(scores * BINS, 0, BINS - 1).astype(np.int64)
    np.add.at(sums.histogram, (table["isthing"].to_numpy().astype(np.int64), bins), 1)
    names, image = np.unique(table["image_id"].to_numpy(), return_inverse=True)
    pairs = np.unique(image * sums.classes + classes)
    sums.with_class += np.bincount(pairs % sums.classes, minlength=sums.classes)
    means = np.bincount(image, scores * areas) / np.maximum(np.bincount(image, areas), 1)
    return [Example(float(m), shard, str(n)) for m, n in zip(means, names, strict=True)]
