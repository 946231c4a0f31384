"""From a labelled range image to its points: each asks its neighbours.

The nearest-neighbour search of RangeNet++ (IROS 2019), with the numbers that EfficientLPS uses.
"""

import numpy as np

from efficientps_d2.data.lidar.projection import RangeImage

SEARCH = 5  # pixels of a side of the window about a point
NEIGHBOURS = 5  # that vote
SIGMA = 3.0  # of the Gaussian that prefers neighbours in the image, in pixels
CUT_OFF = 1.0  # metres, weighted: what is farther has no vote


def labels_of_points(ids: np.ndarray, scan: RangeImage) -> np.ndarray:
    """The id of each point.

    Args:
        ids: (64, 2048) ids of a range image, 0 for none, which never wins a vote.
        scan: what the ids are of.

    Returns:
        (N,) int64; 0 where no neighbour is near.
    """
    distances, votes = _neighbours(ids, scan)
    nearest = np.argpartition(distances, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    distances = np.take_along_axis(distances, nearest, axis=1)
    votes = np.take_along_axis(votes, nearest, axis=1)
    votes[distances > CUT_OFF] = 0
    return _most_frequent(votes)


def _neighbours(ids: np.ndarray, scan: RangeImage) -> tuple[np.ndarray, np.ndarray]:
    """Weighted distances in range and ids of the pixels about each point: (N, 25) each."""
    half = SEARCH // 2
    ranges = np.where(scan.points >= 0, scan.image[:, :, 0], np.inf)
    padded = np.pad(ranges, half, constant_values=np.inf)
    padded_ids = np.pad(ids, half)
    offsets = np.arange(SEARCH)
    rows = scan.rows[:, None, None] + offsets[None, :, None]
    columns = scan.columns[:, None, None] + offsets[None, None, :]
    around = padded[rows, columns].reshape(len(scan.rows), -1)
    around[:, SEARCH * half + half] = scan.ranges  # another point may own the pixel
    weights = 1 - _gaussian().ravel()
    distances = np.abs(around - scan.ranges[:, None]) * weights
    return distances, padded_ids[rows, columns].reshape(len(scan.rows), -1)


def _gaussian() -> np.ndarray:
    """(5, 5), with the sum 1."""
    offsets = np.arange(SEARCH) - SEARCH // 2
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * SIGMA**2))
    return kernel / kernel.sum()


def _most_frequent(votes: np.ndarray) -> np.ndarray:
    """The most frequent id of each row that is not 0, of several the smallest; 0 if all are 0."""
    counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
    counts[votes == 0] = 0
    best = counts.max(axis=1, keepdims=True)
    candidates = np.where((counts == best) & (votes != 0), votes, np.iinfo(votes.dtype).max)
    winners = candidates.min(axis=1)
    return np.where(best[:, 0] > 0, winners, 0)
