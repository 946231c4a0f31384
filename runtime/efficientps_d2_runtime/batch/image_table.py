"""The images of a batch, in a Parquet file whose row groups are the shards.

So a worker reads the few rows of its shard, and a restart finds the images of the first start,
however many there are.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from efficientps_d2_runtime.coco import image_id

SCHEMA = pa.schema(
    [
        ("image", pa.large_string()),  # path or address, or that of a Parquet file
        ("row", pa.int64()),  # in a Parquet file with the bytes of images, else null
        ("name", pa.large_string()),  # of its PNG, without suffix
    ]
)
MOST_PER_SHARD = 256
SHARDS_PER_WORKER = 8  # of few images, so that the last worker is not long alone


@dataclass(frozen=True)
class ImageSource:
    """Where an image is, and what its results are called."""

    image: str
    row: int | None
    name: str

    @property
    def image_id(self) -> int | str:
        """The id in COCO's JSON; see :func:`efficientps_d2_runtime.coco.image_id`."""
        return image_id(PurePosixPath(f"{self.name}.png")) if "/" not in self.name else self.name

    def __str__(self) -> str:
        return self.image if self.row is None else f"{self.image}, row {self.row}"


def shard_size(images: int, workers: int) -> int:
    """Images of a shard, if nobody has said how many."""
    return max(1, min(MOST_PER_SHARD, -(-images // (SHARDS_PER_WORKER * workers))))


def write_listing(table: pa.Table, size: int) -> bytes:
    """The Parquet file of a listing, with ``size`` images in a row group."""
    buffer = BytesIO()
    pq.write_table(table, buffer, row_group_size=size)
    return buffer.getvalue()


def is_listing(path: str, filesystem: fs.FileSystem) -> bool:
    """Whether a Parquet file is of :func:`write_listing`."""
    try:
        return pq.read_schema(path, filesystem=filesystem).equals(SCHEMA)
    except (OSError, pa.ArrowInvalid):
        return False


def read_shard(file: pq.ParquetFile, shard: int) -> list[ImageSource]:
    """The images of a shard."""
    return [ImageSource(**row) for row in file.read_row_group(shard).to_pylist()]
