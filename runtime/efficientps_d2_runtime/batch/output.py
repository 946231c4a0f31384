"""An output: what it is of, its shards, and which of them are finished."""

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.dataset import Dataset, dataset

from efficientps_d2_runtime.batch import tables
from efficientps_d2_runtime.batch.image_table import ImageSource, is_listing, read_shard
from efficientps_d2_runtime.batch.storage import Folder
from efficientps_d2_runtime.errors import InputError

MANIFEST, IMAGES, LOCK = "batch.json", "images.parquet", "batch.lock"
SHARDS, SEGMENTS, ERRORS = "shards", "segments", "errors"
FORMAT, VERSION = "efficientps_d2 batch of predictions", 1


@dataclass(frozen=True)
class Manifest:
    """What an output is of; shards of anything else do not belong into it."""

    input: str
    column: str
    images: int
    shard_size: int
    model: dict  # name, sha256 and whatever else changes results
    categories: list[dict]  # of COCO, by contiguous id
    created: str

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.images // self.shard_size)

    def images_of(self, shard: int) -> int:
        """How many images a shard has."""
        return min(self.shard_size, self.images - shard * self.shard_size)


class Output:
    """A folder of results::

    batch.json                       what it is of; written when images.parquet is complete
    images.parquet                   the images, a row group for each shard
    shards/000012/panoptic.json      COCO's panoptic format
    shards/000012/panoptic/NAME.png
    errors/000012.parquet            a row for each image that failed
    segments/000012.parquet          a row for each segment; written last: the shard is finished
    """

    def __init__(self, address: str):
        """
        Raises:
            InputError: if nothing reads such an address.
        """
        self.folder = Folder(address)
        self._images: pq.ParquetFile | None = None

    def __str__(self) -> str:
        return str(self.folder)

    def __reduce__(self):
        return Output, (self.folder.whole_address,)

    def manifest(self) -> Manifest | None:
        """What it is of; None for a folder that holds nothing yet.

        Raises:
            InputError: if the folder holds other files, or another version wrote it.
        """
        if self.folder.is_local and Path(self.folder.path).is_file():
            raise InputError(f"{self} is a file; give a folder as --output.")
        if not self.folder.exists(MANIFEST):
            others = set(self.folder.files()) - {LOCK}
            if IMAGES in others and is_listing(self.folder.place(IMAGES), self.folder.filesystem):
                others.remove(IMAGES)  # of a start that was killed
            others |= {name for name in (SHARDS, SEGMENTS, ERRORS) if self.folder.exists(name)}
            if others:
                raise InputError(
                    f"{self} holds {sorted(others)[0]}, which is of something else; give an empty "
                    "folder as --output."
                )
            return None
        try:
            content = json.loads(self.folder.read(MANIFEST))
            if content.pop("format") != FORMAT:
                raise ValueError
            if content.pop("version") != VERSION:
                raise InputError(
                    f"{self.folder.name(MANIFEST)} is of another version of this project; go on "
                    "with that one, or give another --output."
                )
            return Manifest(**content)
        except InputError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder.name(MANIFEST)} is damaged or of another program; give another "
                "--output."
            ) from error

    def require_manifest(self) -> Manifest:
        """As :meth:`manifest`, of what is there.

        Raises:
            InputError: also for a folder that holds nothing yet.
        """
        manifest = self.manifest()
        if manifest is None:
            raise InputError(f"{self} holds no batch; give the --output of predict-batch.")
        return manifest

    def begin(self, manifest: Manifest, listing: bytes) -> None:
        """Write what it is of, wholly or not at all."""
        content = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
        self.folder.write(listing, IMAGES)
        try:
            self.folder.write(json.dumps(content, indent=1).encode(), MANIFEST)
        except BaseException:
            with contextlib.suppress(InputError):
                self.folder.remove(IMAGES)
            raise

    def finished(self) -> set[int]:
        """The shards that are finished."""
        names = (name.partition(".")[0] for name in self.folder.files(SEGMENTS))
        return {int(name) for name in names if name.isdigit()}

    def is_finished(self, shard: int) -> bool:
        """Whether a shard is."""
        return self.folder.exists(SEGMENTS, table_name(shard))

    def forget(self, shard: int) -> None:
        """Make a finished shard one that is to be predicted."""
        self.folder.remove(SEGMENTS, table_name(shard))

    def errors(self, shard: int) -> list[dict]:
        """Rows of the images of a finished shard that failed."""
        content = self.folder.read(ERRORS, table_name(shard))
        try:
            return pq.read_table(BytesIO(content)).to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise self.damaged(ERRORS, shard) from error

    def damaged(self, table: str, shard: int) -> InputError:
        """The error of a table of a shard that cannot be read."""
        mark = self.folder.name(SEGMENTS, table_name(shard))
        return InputError(
            f"{self.folder.name(table, table_name(shard))} is damaged; remove {mark}, and repeat "
            "the same predict-batch."
        )

    def remove_partial(self) -> None:
        """Remove what killed commands and workers have left, but for shards, which do so."""
        for names in ((), (SEGMENTS,), (ERRORS,)):
            self.folder.remove_partial(*names)

    @contextlib.contextmanager
    def local(self, shard: int, names: Iterable[str]) -> Iterator[Path]:
        """The folder of a shard on this machine, at least with these files.

        Raises:
            InputError: if one cannot be read.
        """
        place = SHARDS, shard_name(shard)
        if self.folder.is_local:
            yield Path(self.folder.place(*place))
            return
        with tempfile.TemporaryDirectory(prefix="shard-") as copies:
            for name in names:
                copy = Path(copies, name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(self.folder.read(*place, name))
            yield Path(copies)

    def count_errors(self) -> int:
        """How many images of finished shards failed."""
        return self._errors().count_rows()

    def first_errors(self, count: int) -> list[str]:
        """The sentences of the first of them."""
        return self._errors().head(count, columns=["error"])["error"].to_pylist()

    def _errors(self) -> Dataset:
        place = self.folder.place(ERRORS)
        return dataset(place, schema=tables.ERRORS, filesystem=self.folder.filesystem)

    def images(self, shard: int) -> list[ImageSource]:
        """The images of a shard."""
        try:
            if self._images is None:
                self._images = pq.ParquetFile(self.folder.open(IMAGES))
            return read_shard(self._images, shard)
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(
                f"{self.folder.name(IMAGES)} is missing or damaged; begin with another --output."
            ) from error


def shard_name(shard: int) -> str:
    """The folder of a shard, such as 000012."""
    return f"{shard:06d}"


def table_name(shard: int) -> str:
    """The file of a shard in a table."""
    return f"{shard_name(shard)}.parquet"
