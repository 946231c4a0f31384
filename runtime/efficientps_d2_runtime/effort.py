"""Measure the memory that a network takes: python -m efficientps_d2_runtime.effort FILE IMAGE

It prints bytes, as the ``memory`` of a file has them: fixed ones, those of a pixel on which the
network computes, and those of a pixel of the image; nothing on systems that do not tell them.
"""

import functools
import sys

import numpy as np
from PIL import Image

from efficientps_d2_runtime.memory import Need, peaks_of
from efficientps_d2_runtime.network import Network, load

SIZES = ((512, 1024), (1024, 2048))  # of networks that resize no image


def measured(network: Network, image: Image.Image) -> Need | None:
    """Predict an image in some sizes, each larger than the one before; None if nobody tells."""
    network.need = Need(0, 0, 0)  # while it is measured, nothing is refused
    side, longest = network.resize
    sizes = SIZES
    if side:  # two sizes for the network, two for the fusion
        sizes = (side, side), (side, min(2 * side, longest)), (2 * side,) * 2, (3 * side,) * 2
    images = [np.asarray(image.convert("RGB").resize(size[::-1])) for size in sizes]
    peaks = peaks_of(functools.partial(network, pixels, "RGB") for pixels in images)
    if peaks is None:
        return None
    of_images = [height * width for height, width in sizes]
    computed = [network.computed_pixels(*size) for size in sizes]
    need = Need(
        0,
        _slope(computed[:2], peaks[:2]),
        _slope(of_images[2:], peaks[2:]) if side else 0,
    )
    points = zip(computed, of_images, peaks, strict=True)
    fixed = max(peak - need.of_pixels(*pixels) for *pixels, peak in points)
    return need._replace(fixed=max(fixed, 0))


def _slope(counts: list[float], peaks: list[int]) -> float:
    """Bytes of a pixel more."""
    return max(peaks[1] - peaks[0], 0) / max(counts[1] - counts[0], 1)


if __name__ == "__main__":
    with Image.open(sys.argv[2]) as image:
        need = measured(load(sys.argv[1]), image)
    print(" ".join(f"{x:.0f}" for x in need or ()))
