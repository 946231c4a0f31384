"""The first convolution of a network of other bands than its weights were trained on."""

import logging

from timm.models import adapt_input_conv
from torch import Tensor

logger = logging.getLogger(__name__)

OF_CAFFE2 = {"conv1_w": "stem.conv1.weight"}  # other names are those of the network, or their ends


def spread_over_bands(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Spread weights for RGB over the bands of a network, in place, as timm does.

    Several bands get the weights of red, green, blue, red and so on, all times 3 / bands, so that
    what comes out of the convolution stays as large as it was. For the same reason a single band
    gets the sum of the three.

    Args:
        weights: state dict that is loaded.
        expected: state dict of the network.
    """
    for key, value in weights.items():
        if not isinstance(key, str) or getattr(value, "ndim", 0) != 4 or value.shape[1] != 3:
            continue
        end = f".{OF_CAFFE2.get(key, key)}"
        own = [v for k, v in expected.items() if f".{k}".endswith(end) and v.ndim == 4]
        others = value.shape[:1] + value.shape[2:]
        bands = [v.shape[1] for v in own if v.shape[:1] + v.shape[2:] == others]
        if bands and bands[0] != 3:
            weights[key] = adapt_input_conv(bands[0], value)
            logger.info("Spread the RGB weights of %s over %d bands.", key, bands[0])
