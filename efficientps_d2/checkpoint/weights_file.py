"""Files of weights, read without executing anything that is pickled into them."""

import pickle
import re
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from efficientps_d2_runtime import checksum
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.files import replacing_file


def read_weights(path: str | Path) -> dict:
    """The content of a checkpoint.

    Args:
        path: what ``torch.save`` wrote; if it ends in ``.pkl``, also a pickle of arrays, such as
            those of Detectron2's model zoo; ``.safetensors`` holds the weights alone.

    Raises:
        InputError: if the file is damaged, no dict, or holds objects besides tensors and arrays,
            which could run code.
    """
    if is_safetensors(path):
        return {"model": _read_safetensors(Path(path))}
    is_zip = _is_zip(path)
    if is_zip and not is_whole(path):
        raise InputError(f"{path} is damaged: its checksums do not fit; get it again.")
    try:
        # Some name files of torch.save so, too.
        if str(path).endswith(".pkl") and not is_zip:
            with open(path, "rb") as file:
                content = ArrayUnpickler(file, encoding="latin1").load()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is damaged or holds pickled objects besides tensors, which could run code; "
            "save its state dict alone."
        ) from error
    except Exception as error:  # both raise many kinds for damaged files
        raise InputError(
            f"{path} cannot be read as a checkpoint; it may be truncated or of another kind."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no state dict of tensors; give a checkpoint.")
    return content


def is_safetensors(path: str | Path) -> bool:
    """Whether a name says that a file is of safetensors, which cannot hold code."""
    return str(path).endswith(".safetensors")


def write_weights(path: Path, state: dict[str, Tensor]) -> None:
    """Write a state dict for :func:`read_weights`, by the suffix of ``path``."""
    with replacing_file(path) as partial:
        if is_safetensors(path):
            # Its save_file makes a temporary file of its own, which nobody else may read.
            state = {name: _own(tensor) for name, tensor in state.items()}
            partial.write_bytes(checksum.seal(save(state, checksum.METADATA)))
        else:
            torch.save({"model": state}, partial)


def _own(tensor: Tensor) -> Tensor:
    """A copy in the usual order, with no memory that is also another tensor's."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()
    if checksum.is_sealed(content) and not checksum.is_whole(content):
        raise InputError(f"{path} is damaged: its checksum does not fit; get it again.")
    try:
        return load(content)
    except (SafetensorError, KeyError) as error:  # the latter of a type that it does not know
        raise InputError(f"{path} is damaged ({one_line(error)}); get it again.") from error


def is_whole(file: str | Path) -> bool:
    """Whether a file of ``torch.save`` has all of its bytes, by the checksums that are in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():  # testzip() would look for them by their names
                with archive.open(entry) as content:
                    while content.read(2**20):
                        pass
            return True
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False  # RuntimeError: its bits say that it is encrypted, or compressed otherwise


def _is_zip(path: str | Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one with a damaged end
        return True


def read_state_dict(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint, without executing anything that was pickled into it.

    Takes bare state dicts and those below ``state_dict`` or ``model``; ``module.`` prefixes go.

    Returns:
        The tensors by name, and the names of what else the file holds.

    Raises:
        InputError: if the file is missing, damaged, or holds no tensors.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} is no file; give a checkpoint file.")
    content = read_weights(path)
    key = next((key for key in ("state_dict", "model") if key in content), None)
    try:
        state = content[key] if key else content
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    except (AttributeError, TypeError):
        state = {}
    if not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path} holds no state dict of tensors; give a PyTorch checkpoint.")
    return state, [name for name in content if name != key] if key else []


class ArrayUnpickler(pickle._Unpickler):
    """Reads dicts, lists, numbers, text, and arrays of numbers, and refuses all else.

    It is the one in Python: that in C makes room for as many objects as a damaged number says,
    which can be more than the memory.
    """

    def load_bytearray8(self):
        """As in Python, but without room for bytes that the file does not have."""
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}

    def find_class(self, module: str, name: str):
        # NumPy 2 has other names for the same.
        found = ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return found


class _DType:
    """In place of a type: NumPy's own can be forged so that bytes pass for addresses of objects."""

    def __init__(self, code: str, *_):
        if not re.fullmatch(r"[biufc]\d+", code):
            raise pickle.UnpicklingError(f"numpy.dtype {code} is not allowed")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple):
        self.value = self.value.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose type is a :class:`_DType` until its content comes."""

    def __setstate__(self, state: tuple):
        version, shape, dtype, fortran, content = state
        super().__setstate__((version, shape, dtype.value, fortran, content))


def _reconstruct(*_) -> _Array:
    return _Array((0,))


def _frombuffer(content: bytes, dtype: _DType, shape: tuple, order: str) -> np.ndarray:
    """Of pickles of protocol 5."""
    array = np.ndarray(shape, dtype.value, content, order=order)
    return array.astype(dtype.value.newbyteorder("="), order)


def _scalar(dtype: _DType, content: bytes | str) -> np.generic:
    content = content.encode("latin1") if isinstance(content, str) else content
    return np.ndarray((), dtype.value, content)[()]


def _encode(text: str, _: str = "") -> bytes:
    """Of pickles of protocol 2: bytes are text of this encoding."""
    return text.encode("latin1")


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy", "ndarray"): "ndarray",  # an argument of the above
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
}
