"""The images of an input: of a folder, a pattern or Parquet, on disks and in object storage."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from glob import has_magic

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from efficientps_d2_runtime.batch.image_table import SCHEMA
from efficientps_d2_runtime.batch.parquet_images import (
    PARQUET,
    column_of,
    images_of_parquet,
    parquet_files,
)
from efficientps_d2_runtime.batch.storage import Folder, split_options, why, with_options
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import IMAGE_SUFFIXES

CHUNK = 100_000  # paths
MOST_DEEP = 500  # folders below another, of **, which follows no links: they may lead in circles
WEB_QUERY = r"^(https?://[^?#]*).*$"  # such as a signature


def list_images(
    address: str,
    column: str = "",
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
    told: Callable[[int], None] = lambda count: None,
) -> pa.Table:
    """The images of an input, sorted, with a name for each.

    Names are file stems; relative paths where two files have one stem; with suffixes where that is
    not enough.

    Args:
        address: a folder, a pattern (``**`` for folders of any depth), or a Parquet file or a
            folder of such.
        column: of a Parquet file, with paths, addresses or the bytes of images.
        suffixes: of images.
        told: gets the number of images so far, now and then.

    Raises:
        InputError: if there are none, or the input cannot be read.
    """
    root, pattern = _split_pattern(address)
    folder = Folder(root)
    try:
        if pattern:
            return _named(_matching(folder, pattern, suffixes, told), folder.path)
        images = _in_folder(folder, suffixes, told)
        if not len(images) and (files := parquet_files(folder)):
            images, rows = images_of_parquet(folder, files, column, told)
            return _rows(images, rows) if rows is not None else _named(images, "")
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{address} cannot be read {why(error)}.") from error
    except UnicodeError as error:
        name = ascii(getattr(error, "object", ""))[:200]
        raise InputError(
            f"{address} holds a file whose name is no UTF-8 ({name}); rename it."
        ) from error
    if not len(images):
        deeper = f"{root.partition('?')[0].rstrip('/')}/**"
        raise InputError(
            f"{folder} holds no image; give a folder with images, or '{deeper}' for those in all "
            "folders below."
        )
    return _named(images, folder.path)


def require_input(address: str, column: str = "") -> None:
    """Raise InputError for the mistakes of an input that show without a list of its images."""
    root, pattern = _split_pattern(address)
    folder = Folder(root)
    with contextlib.suppress(OSError, pa.ArrowInvalid):  # which are told when it is listed
        if not pattern and _is_file(folder) and parquet_files(folder):
            with folder.open() as stream:
                column_of(pq.ParquetFile(stream), column, str(folder))


def leaves_out_folders(address: str, images: pa.Table) -> bool:
    """Whether an input is a local folder with others, whose images are not listed.

    Args:
        address: that of the input in all folders of this machine.
        images: of :func:`list_images`.
    """
    if "://" in address or os.path.dirname(images["image"][0].as_py()) != address:
        return False
    with os.scandir(address) as entries:
        return any(entry.is_dir() and entry.name[0] != "." for entry in entries)


def _split_pattern(address: str) -> tuple[str, str]:
    """The folder above the first wildcard, and the rest; what exists is no pattern."""
    plain, options = split_options(address)
    if not has_magic(plain) or ("://" not in plain and os.path.exists(os.path.expanduser(plain))):
        return address, ""
    parts = plain.split("/")
    first = next(i for i, part in enumerate(parts) if has_magic(part))
    if "://" in plain and first < 3:
        raise InputError(f"{address} has a pattern in the name of its bucket; give the whole name.")
    root = "/".join(parts[:first]) or ("/" if plain.startswith("/") else ".")
    return with_options(root, options), "/".join(parts[first:])


def _in_folder(folder: Folder, suffixes: tuple[str, ...], told) -> pa.Array:
    """The images directly in a folder, or one image."""
    if _is_file(folder):
        is_table = folder.path.lower().endswith(PARQUET)
        return pa.array([] if is_table else [folder.name()], pa.large_string())
    chosen = _chunks(folder, 0, follow=True)
    return _sorted(folder, chosen, lambda path: path.lower().endswith(suffixes), told)


def _is_file(folder: Folder) -> bool:
    info = folder.filesystem.get_file_info(folder.path)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{folder} does not exist; give a folder, a pattern or a Parquet file.")
    return info.type == fs.FileType.File


def _matching(folder: Folder, pattern: str, suffixes: tuple[str, ...], told) -> pa.Array:
    """The images that fit a pattern; ``**`` alone stands for whatever has a suffix of an image."""
    try:
        fits = re.compile(f"{re.escape(folder.path.rstrip('/'))}/{_regular(pattern)}").fullmatch
    except re.error as error:
        raise InputError(
            f"{folder}/{pattern} is no pattern ({error}); correct what is in brackets."
        ) from error
    any_depth = "**" in pattern
    paths = _chunks(folder, MOST_DEEP if any_depth else pattern.count("/"), not any_depth)
    images = _sorted(
        folder,
        paths,
        lambda path: path.lower().endswith(suffixes) and fits(path) is not None,
        told,
    )
    if not len(images):
        raise InputError(f"No image fits {folder}/{pattern}; correct the pattern.")
    return images


def _sorted(folder: Folder, chunks: Iterator[list[str]], is_one, told) -> pa.Array:
    """Names of files; Arrow's arrays hold ten million in less than a gigabyte."""
    parts, count = [], 0
    for paths in chunks:
        chosen = [folder.address_of(path) for path in paths if is_one(path)]
        count += len(chosen)
        parts.append(pa.array(chosen, pa.large_string()))
        told(count)
    joined = pa.chunked_array(parts, pa.large_string()).combine_chunks()
    return joined.take(pc.sort_indices(joined))


def _chunks(folder: Folder, depth: int, follow: bool) -> Iterator[list[str]]:
    """Paths of files, some at a time: Arrow's own list of ten million takes four gigabytes."""
    if not folder.is_local:
        selector = fs.FileSelector(folder.path, recursive=depth > 0, allow_not_found=True)
        yield [info.path for info in folder.filesystem.get_file_info(selector) if info.is_file]
        return
    paths = []
    for entry in _entries(folder.path, depth, follow):
        paths.append(entry.path)
        if len(paths) == CHUNK:
            yield paths
            paths = []
    yield paths


def _entries(folder: str, depth: int, follow: bool) -> Iterator[os.DirEntry]:
    """The files in a folder, and in those below to some depth."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield entry
            elif depth and entry.is_dir(follow_symlinks=follow):
                yield from _entries(entry.path, depth - 1, follow)


def _regular(pattern: str) -> str:
    """A pattern of a shell as a regular expression."""
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    split = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    return "".join(
        pieces.get(s) or (s.replace("[!", "[^") if s[:1] == "[" else re.escape(s)) for s in split
    )


def _named(images: pa.Array, root: str) -> pa.Table:
    """A table of files with names that differ."""
    scheme_and_root = rf"^([a-z0-9]+://)?({re.escape(root.rstrip('/'))}/)?"
    relative = pc.replace_substring_regex(images, scheme_and_root, "")
    plain = pc.replace_substring_regex(images, WEB_QUERY, r"\1")
    names = pc.replace_substring_regex(plain, rf"{scheme_and_root}|\.[^./]*$", "")
    stems = pc.replace_substring_regex(names, r"^.*/", "")
    for choice in (stems, names, relative):
        ids = pc.replace_substring_regex(choice, "_leftImg8bit$", "")  # as image_id has it
        if pc.count_distinct(ids).as_py() == len(images):
            break
    rows = pa.nulls(len(images), pa.int64())
    return pa.table({"image": images, "row": rows, "name": choice}).cast(SCHEMA)


def _rows(images: pa.Array, rows: pa.Array) -> pa.Table:
    """A table of images in Parquet files, named after file and row."""
    names = pc.replace_substring_regex(images, "^.*/", "")
    stems = pc.replace_substring_regex(names, r"\.[^./]*$", "")
    if pc.count_distinct(stems) != pc.count_distinct(images):
        stems = names
    numbers = pc.utf8_lpad(rows.cast(pa.large_string()), 6, "0")
    names = pc.binary_join_element_wise(stems, numbers, pa.scalar("_", pa.large_string()))
    return pa.table({"image": images, "row": rows, "name": names}).cast(SCHEMA)
