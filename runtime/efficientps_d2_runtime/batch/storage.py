"""Folders on disks and in object storage, whose files are there completely or not at all."""

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, urlencode

import pyarrow as pa
from pyarrow import fs

from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.files import to_disk

OPTIONS = re.compile(r"\w+=[^&=]+(&\w+=[^&=]+)*")  # at the end of an address
PARTIAL = ".partial"  # ends the name of a file that is being written
BUFFER = 2**22  # bytes
LONGEST = 200  # characters of an error of a library
GOOGLE = re.compile(r"^.*?Status\((?:.*last message of )?(.*?)(?: error_info=.*|\)?$)")
# Seconds: Arrow's 3 are few for a busy S3, and its 15 minutes many for an error of Google's.
PATIENCE = {"connect_timeout": 10, "request_timeout": 60}
PATIENCE_GOOGLE = {"retry_limit_seconds": 30}


class Folder:
    """A folder: ``results/``, ``s3://bucket/results``, or of any file system fsspec knows."""

    def __init__(self, address: str | Path):
        """
        Args:
            address: a path, or an address with a scheme, which may end in options such as
                ``?region=eu-central-1``.

        Raises:
            InputError: if nothing here reads such addresses.
        """
        self.address = str(address)
        self.filesystem, self.path = open_address(self.address)
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)

    def __str__(self) -> str:
        return self.address

    def __reduce__(self):  # what file systems hold open is not for other processes
        return Folder, (self.whole_address,)

    @property
    def whole_address(self) -> str:
        """The address in all folders of this machine, without a slash at its end."""
        if self.is_local:
            return self.path
        plain, options = split_options(self.address)
        return with_options(plain.rstrip("/"), options)

    def place(self, *names: str) -> str:
        """The path of a file in the file system."""
        return str(PurePosixPath(self.path, *names))

    def name(self, *names: str) -> str:
        """How a file of the folder is called in messages and tables."""
        return self.address_of(self.place(*names))

    def address_of(self, path: str) -> str:
        """How a path of the file system is called."""
        return path if self.is_local else f"{self.address.partition('://')[0]}://{path}"

    def exists(self, *names: str) -> bool:
        """Whether there is such a file or folder."""
        with self._naming("read", *names):
            return self.filesystem.get_file_info(self.place(*names)).type != fs.FileType.NotFound

    def files(self, *names: str) -> list[str]:
        """Sorted names of the files of a folder; none if it is not there."""
        selector = fs.FileSelector(self.place(*names), allow_not_found=True)
        with self._naming("read", *names):
            found = self.filesystem.get_file_info(selector)
        return sorted(i.base_name for i in found if i.is_file and i.base_name[0] != ".")

    def state(self, *names: str) -> str:
        """Size and time of a file, which differ when it is another."""
        with self._naming("read", *names):
            info = self.filesystem.get_file_info(self.place(*names))
            if not info.is_file:
                raise FileNotFoundError(errno.ENOENT, "there is no such file")
        return f"{info.size} {info.mtime_ns}"

    def read(self, *names: str) -> bytes:
        """The content of a file."""
        with self._naming("read", *names), self.open(*names) as stream:
            return stream.read()

    def open(self, *names: str) -> pa.NativeFile:
        """A file, to read parts of it.

        Raises:
            OSError: if it cannot be read; also later, from the parts.
        """
        return self.filesystem.open_input_file(self.place(*names))

    def write(self, content: bytes, *names: str) -> None:
        """Write a file, and the folders above it.

        On a disk it gets its name when it is complete; object storage does that by itself.
        """
        self._write(BytesIO(content), *names)

    def _write(self, source, *names: str) -> None:
        with self._naming("written", *names):
            if not self.is_local:
                self._upload(source, self.place(*names))
                return
            file = Path(self.place(*names))
            file.parent.mkdir(parents=True, exist_ok=True)
            # Of two writers, too; readers of tables leave out what begins with a dot.
            partial = file.with_name(f".{uuid.uuid4().hex}{PARTIAL}")
            try:
                with open(partial, "wb") as stream:
                    shutil.copyfileobj(source, stream, BUFFER)
                to_disk(partial)
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)

    def _upload(self, source, path: str) -> None:
        """Its end says whether it has worked; pyarrow's copy_files ignores that."""
        stream = self.filesystem.open_output_stream(path)
        try:
            shutil.copyfileobj(source, stream, BUFFER)
        except BaseException:  # Ctrl-C, too: closed, the part would look like a whole
            with contextlib.suppress(OSError):
                stream.close()
                self.filesystem.delete_file(path)
            raise
        stream.close()

    def store(self, file: Path, *names: str) -> None:
        """Copy a file of this machine, of any size, into the folder."""
        with open(file, "rb") as source:
            self._write(source, *names)

    def fetch(self, file: Path, *names: str) -> None:
        """Copy a file of the folder to this machine, where it is whole or absent."""
        with self._naming("read", *names), self.open(*names) as source:
            Folder(file.parent)._write(source, file.name)

    def remove(self, *names: str) -> None:
        """Remove a file."""
        with self._naming("removed", *names):
            self.filesystem.delete_file(self.place(*names))

    def remove_partial(self, *names: str, deep: bool = False) -> None:
        """Remove what killed writers have left in a folder, and if asked below it."""
        if self.is_local:
            folder, pattern = Path(self.place(*names)), f".*{PARTIAL}"
            for file in folder.rglob(pattern) if deep else folder.glob(pattern):
                file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _naming(self, verb: str, *names: str) -> Iterator[None]:
        """Turn errors of the file system into a sentence."""
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{self.name(*names)} cannot be {verb} {why(error, verb)}.") from error


def why(error: Exception, verb: str = "read") -> str:
    """The reason of an error of a file system in brackets, and what to do."""
    text = getattr(error, "strerror", None) or one_line(error)
    cure = "check path, rights and space" if verb == "written" else "check path and rights"
    if isinstance(error, FileNotFoundError) and "://" in text:  # fsspec gives the address only
        text = "nothing is found there"
    elif "google::cloud" in text:
        text = GOOGLE.sub(r"\1", text)
        cure = "check bucket, credentials (GOOGLE_APPLICATION_CREDENTIALS) and endpoint"
    elif "AWS" in text or "credential" in text.lower():
        cure = "check bucket, credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE), region and endpoint"
    return f"({text[:LONGEST].rstrip('. ')}); {cure}"


def split_options(address: str) -> tuple[str, dict[str, str]]:
    """An address without the options at its end, such as ``?region=eu-central-1``, and these."""
    plain, mark, options = address.rpartition("?")
    if "://" in plain and mark and OPTIONS.fullmatch(options):
        return plain, dict(parse_qsl(options))
    return address, {}


def with_options(plain: str, options: dict) -> str:
    """An address with options at its end."""
    return f"{plain}?{urlencode(options)}" if options else plain


def open_address(address: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or an address, and the path in it.

    Raises:
        InputError: if nothing here reads such addresses.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(address))
    try:
        if scheme == "s3":
            return _open_s3(address)
        if scheme in ("gs", "gcs"):
            plain, options = split_options(address)
            address = with_options(plain, {**PATIENCE_GOOGLE, **options})
        if scheme in ("gs", "gcs", "file"):
            filesystem, path = fs.FileSystem.from_uri(address)
            return filesystem, path.rstrip("/") or path
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(address)
        return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path
    except (pa.ArrowInvalid, OSError, TypeError) as error:
        raise InputError(f"{address} cannot be opened {why(error)}.") from error
    except (ValueError, ImportError) as error:
        raise InputError(
            f"{address} cannot be opened ({one_line(error)[:LONGEST].rstrip('.')}); give a path, "
            "s3://, gs:// or an address that an installed package of fsspec reads."
        ) from error


def _open_s3(address: str) -> tuple[fs.FileSystem, str]:
    """As Arrow does it, but with the variable for the endpoint that other tools know."""
    plain, options = split_options(address)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        options["scheme"], _, options["endpoint_override"] = endpoint.partition("://")
    seconds = {name: float(options.get(name, default)) for name, default in PATIENCE.items()}
    # One request for a small file instead of three.
    filesystem = fs.S3FileSystem(**{"allow_delayed_open": True, **options, **seconds})
    return filesystem, plain.partition("://")[2].rstrip("/")
