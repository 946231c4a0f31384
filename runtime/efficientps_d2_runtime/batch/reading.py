"""The images of a shard, wherever they are, as files that a model can read."""

import contextlib
import errno
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from efficientps_d2_runtime.batch.image_table import ImageSource
from efficientps_d2_runtime.batch.listing import WEB_QUERY
from efficientps_d2_runtime.batch.parquet_images import column_of
from efficientps_d2_runtime.batch.storage import Folder, open_address

PAUSES = (1, 4)  # seconds before something in object storage is read again


class ImageFiles:
    """Gives images as files. Several threads may ask it."""

    def __init__(self, source: Folder, column: str):
        """
        Args:
            source: the input, whose options (such as an endpoint) hold for its images, too.
            column: of Parquet files with the bytes of images.
        """
        self._source, self._column = source, column
        self._filesystems: dict[str, fs.FileSystem] = {}
        self._lock = threading.RLock()
        self._group: RowGroup | None = None

    @contextlib.contextmanager
    def file(self, source: ImageSource) -> Iterator[Path]:
        """The file of an image: itself, or a copy that is removed at the end.

        Raises:
            OSError, pa.ArrowInvalid: if it cannot be read.
        """
        if source.row is None and "://" not in source.image:
            if not os.path.isfile(source.image):
                raise FileNotFoundError(errno.ENOENT, "it is no longer there")
            yield Path(source.image)
            return
        content, suffix = self._again(source)
        with tempfile.NamedTemporaryFile(prefix="image-", suffix=suffix) as copy:
            copy.write(content)
            copy.flush()
            yield Path(copy.name)

    def _again(self, source: ImageSource) -> tuple[bytes, str]:
        """Read it, a few times if the storage fails."""
        for pause in PAUSES:
            try:
                return self._content(source)
            except (FileNotFoundError, PermissionError):
                raise
            except OSError:
                time.sleep(pause)
        return self._content(source)

    def _content(self, source: ImageSource) -> tuple[bytes, str]:
        """The bytes of an image, and the suffix of its name."""
        if source.row is not None:
            return self._row(source.image, source.row)
        filesystem, path = self._place(source.image)
        with filesystem.open_input_stream(path) as stream:
            return stream.read(), PurePosixPath(re.sub(WEB_QUERY, r"\1", path)).suffix

    def _place(self, image: str) -> tuple[fs.FileSystem, str]:
        scheme, mark, path = image.partition("://")
        if scheme not in ("s3", "gs", "gcs"):  # fsspec knows how the path of each other begins
            return open_address(image)
        if self._source.address.startswith(f"{scheme}://"):
            return self._source.filesystem, path
        root = f"{scheme}://{path.partition('/')[0]}"
        with self._lock:
            if root not in self._filesystems:
                self._filesystems[root] = open_address(root)[0]
        return self._filesystems[root], path

    def _row(self, image: str, row: int) -> tuple[bytes, str]:
        """An image in a Parquet file, whose row group stays in memory for its neighbours."""
        with self._lock:
            if not (self._group and self._group.holds(image, row)):
                self._group = None  # its memory, before there is another
                self._group = self._read_group(image, row)
            value = self._group.values[row - self._group.first].as_py()
        suffix = ""
        if isinstance(value, dict):
            value, suffix = value["bytes"], PurePosixPath(value.get("path") or "").suffix
        if not value:
            raise FileNotFoundError(errno.ENOENT, "the row holds no bytes")
        return value, suffix

    def _read_group(self, image: str, row: int) -> "RowGroup":
        filesystem, path = self._place(image)
        with filesystem.open_input_file(path) as stream:
            file, first = pq.ParquetFile(stream), 0
            column = column_of(file, self._column, image)
            for number in range(file.num_row_groups):
                count = file.metadata.row_group(number).num_rows
                if row < first + count:
                    values = file.read_row_group(number, [column]).column(0)
                    return RowGroup(image, first, values)
                first += count
        raise FileNotFoundError(errno.ENOENT, f"it has {first} rows by now")


class RowGroup(NamedTuple):
    """The images of some rows of a Parquet file."""

    image: str  # the file
    first: int  # row
    values: pa.ChunkedArray

    def holds(self, image: str, row: int) -> bool:
        """Whether a row is one of them."""
        return image == self.image and 0 <= row - self.first < len(self.values)
