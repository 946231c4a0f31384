"""Images of Parquet files: paths, addresses, or the bytes of images in a column."""

import posixpath
from collections.abc import Callable
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from efficientps_d2_runtime.batch.storage import Folder
from efficientps_d2_runtime.errors import InputError

PARQUET = (".parquet", ".pq")
COLUMNS = ("image", "path", "file_name", "url", "bytes")  # that are looked for


def parquet_files(folder: Folder) -> list[str]:
    """The Parquet files that an input, which is there, is or holds."""
    info = folder.filesystem.get_file_info(folder.path)
    if info.type == fs.FileType.File:
        return [folder.path] if folder.path.lower().endswith(PARQUET) else []
    found = folder.filesystem.get_file_info(fs.FileSelector(folder.path))
    return sorted(i.path for i in found if i.path.lower().endswith(PARQUET))


def images_of_parquet(
    folder: Folder, files: list[str], column: str, told: Callable[[int], None]
) -> tuple[pa.Array, pa.Array | None]:
    """Paths that Parquet files list, or the files themselves with the rows that hold images.

    Args:
        folder: the input.
        files: of :func:`parquet_files`.
        column: asked for, or empty.
        told: gets the number of images so far.
    """
    images, rows, count = [], [], 0
    for path in files:
        with folder.filesystem.open_input_file(path) as stream:
            file = pq.ParquetFile(stream)
            name = column_of(file, column, folder.address_of(path))
            if _is_text(file.schema_arrow.field(name).type):
                listed = file.read([name]).column(0).cast(pa.large_string()).combine_chunks()
                images.append(_beside(listed, folder.address_of(str(PurePosixPath(path).parent))))
            else:
                number = file.metadata.num_rows
                images.append(pa.array([folder.address_of(path)] * number, pa.large_string()))
                rows.append(pa.array(range(number), pa.int64()))
        told(count := count + len(images[-1]))
    joined = pa.chunked_array(images, pa.large_string()).combine_chunks()
    if not len(joined):
        raise InputError(f"{folder} lists no image; give a Parquet file with rows.")
    if joined.null_count:
        raise InputError(f"{folder} has rows without a path; leave them out.")
    if rows and len(rows) < len(images):
        raise InputError(f"{folder} has files with paths and files with bytes; give one kind.")
    if rows:
        return joined, pa.chunked_array(rows).combine_chunks()
    if twice := len(joined) - pc.count_distinct(joined).as_py():
        raise InputError(f"{folder} lists {twice} images twice; leave these out.")
    return joined, None


def _beside(paths: pa.Array, folder: str) -> pa.Array:
    """Paths and addresses as they are, but relative ones from the folder of the Parquet file."""
    is_whole = pc.match_substring_regex(paths, r"^(/|[A-Za-z][A-Za-z0-9+.-]*://)")
    beside = pc.if_else(is_whole, paths, pc.replace_substring_regex(paths, "^", f"{folder}/"))
    if not pc.any(pc.match_substring_regex(beside, r"/\.\.?/")).as_py():
        return beside
    return pa.array([_without_dots(path) for path in beside.to_pylist()], pa.large_string())


def _without_dots(path: str | None) -> str | None:
    """A path without ``..``, which would lead results out of their folder."""
    scheme, mark, rest = (path or "").rpartition("://")
    return path and f"{scheme}{mark}{posixpath.normpath(rest)}"


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def column_of(file: pq.ParquetFile, column: str, name: str) -> str:
    """The column with images: the one asked for, or the first of :data:`COLUMNS`."""
    columns = file.schema_arrow.names
    if column and column not in columns:
        raise InputError(f"{name} has no column {column}; give one of {', '.join(columns)}.")
    found = column or next((c for c in COLUMNS if c in columns), "")
    if not found:
        raise InputError(
            f"{name} has none of the columns {', '.join(COLUMNS)}; name one of "
            f"{', '.join(columns)} by --column."
        )
    kind = file.schema_arrow.field(found).type
    fits = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not (_is_text(kind) or fits or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise InputError(
            f"The column {found} of {name} is {kind}; give one with paths or the bytes of images."
        )
    return found
