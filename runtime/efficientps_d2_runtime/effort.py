"""Measure the memory that a network takes, and print it.

These are bytes, as the ``memory`` of a file has them: fixed ones, those of a pixel on which the
network computes, and those of a pixel of the image; nothing on systems that do not tell them.
"""

import argparse
import functools
import sys

import numpy as np
from PIL import Image

from efficientps_d2_runtime.errors import exit_status
from efficientps_d2_runtime.images import read_rgb
from efficientps_d2_runtime.memory import Need, free_memory, peaks_of
from efficientps_d2_runtime.network import Network, load
from efficientps_d2_runtime.network_file import BYTES, BYTES_OF_CLASS

SMALL = 64  # pixels of a side of an image of which the fusion takes little
MOST = 2.2e9  # bytes that the largest image may be guessed to take
PIXELS = 6e6  # of the largest image


def measured(network: Network, image: Image.Image) -> Need | None:
    """Predict an image in some sizes; None where nobody tells the memory of a process.

    Args:
        network: of a file.
        image: RGB, of any size.

    Returns:
        Bytes.
    """
    network.need = Need(0, 0, 0)  # while it is measured, nothing is refused
    sizes = _sizes(network)
    images = [np.asarray(image.convert("RGB").resize(size[::-1])) for size in sizes]
    peaks = peaks_of(functools.partial(network, pixels, "RGB") for pixels in images)
    if peaks is None:
        return None
    computed = [network.computed_pixels(*size) for size in sizes]
    more = computed[1] - computed[0]
    slope = max((peaks[1] - peaks[0]) / more if more else peaks[1] / computed[1], 0)
    fixed = max(peaks[1] - slope * computed[1], 0)
    need = Need(fixed, slope, 0)
    if len(sizes) < 3:
        return need
    height, width = sizes[2]
    of_network = fixed + slope * computed[2]
    if peaks[2] <= 1.05 * of_network:  # which hides what the fusion takes
        return need._replace(image_pixel=BYTES_OF_CLASS * len(network.categories))
    return need._replace(image_pixel=(peaks[2] - fixed) / (height * width))


def _sizes(network: Network) -> list[tuple[int, int]]:
    """Heights and widths: two that differ for the network, and one for the fusion if it resizes."""
    limit = min(MOST, (free_memory() or np.inf) / 2)
    of_class = BYTES_OF_CLASS * len(network.categories)
    shortest, _ = network.resize
    if not shortest:
        side = int((min(PIXELS, limit / (BYTES + of_class)) / 2) ** 0.5)
        return [(side // 2, side), (side, 2 * side)]
    shapes = [(SMALL, n * SMALL) for n in (1, 2, 4)]
    shapes.sort(key=lambda size: network.computed_pixels(*size))
    side = int(min(PIXELS, limit / of_class) ** 0.5)
    return [shapes[0], shapes[-1], (side, side)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m efficientps_d2_runtime.effort",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="of efficientps-d2 export")
    parser.add_argument("image", metavar="IMAGE", help="of any size; it is resized")
    args = parser.parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    image = Image.fromarray(read_rgb(args.image))
    print(" ".join(f"{x:.0f}" for x in measured(load(args.file), image) or ()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
