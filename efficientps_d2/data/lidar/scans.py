"""Files of SemanticKITTI: points of a scan, and a label of each."""

from pathlib import Path

import numpy as np

from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import refuse_pipes, replacing_file

SCAN_SUFFIX, LABEL_SUFFIX = ".bin", ".label"
POINT_BYTES, LABEL_BYTES = 16, 4
FARTHEST = 1e5  # metres of a coordinate


def read_scan(file: str | Path) -> np.ndarray:
    """(N, 4) float32: x, y, z in metres, forwards, left and up from the scanner, and remission.

    Raises:
        InputError: if its length is not that of whole points, or a coordinate is not finite.
        OSError: if it cannot be read.
    """
    points = _read(file, POINT_BYTES, "<f4", "points of 16 bytes").reshape(-1, 4)
    usable = np.isfinite(points).all(axis=1) & (np.abs(points[:, :3]) < FARTHEST).all(axis=1)
    if odd := int((~usable).sum()):
        raise InputError(
            f"{file} has {odd} points with NaN or infinite values, or farther than "
            f"{FARTHEST / 1000:.0f} km; remove them with their labels."
        )
    return points


def read_point_labels(file: str | Path) -> np.ndarray:
    """(N,) uint32: the raw class in the lower 16 bits, the number of the object in the upper.

    Raises:
        InputError: if its length is not that of whole labels.
        OSError: if it cannot be read.
    """
    return _read(file, LABEL_BYTES, "<u4", "labels of 4 bytes")


def _read(file: str | Path, size: int, dtype: str, what: str) -> np.ndarray:
    refuse_pipes(file)
    content = Path(file).read_bytes()
    if not content or len(content) % size:
        raise InputError(f"{file} has {len(content)} bytes, not {what}; unpack it again.")
    return np.frombuffer(content, dtype=dtype)


def write_point_labels(file: Path, labels: np.ndarray) -> None:
    """Write (N,) uint32 labels; the file appears when it is whole."""
    with replacing_file(file) as partial:
        partial.write_bytes(np.ascontiguousarray(labels, dtype="<u4").tobytes())


def require_labels(points: np.ndarray, labels: np.ndarray, scan: Path, file: Path) -> None:
    """Fail unless each point has a label.

    Raises:
        InputError: it names both files.
    """
    if len(points) != len(labels):
        raise InputError(
            f"{file} has {len(labels)} labels, but {scan} has {len(points)} points; unpack both "
            "again."
        )
