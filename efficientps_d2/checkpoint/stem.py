"""The first convolution of a network of other bands than its weights were trained on."""

import logging

from timm.models import adapt_input_conv
from torch import Tensor

logger = logging.getLogger(__name__)

STEMS = ("conv_stem.weight", "stem.conv1.weight", "conv1_w")  # of timm, Detectron2 and Caffe2


def spread_over_bands(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Spread weights for RGB over the bands of a network, in place, as timm does.

    The bands get the weights of red, green, blue, red and so on, all times 3 / bands, so that what
    comes out of the convolution stays as large as it was.

    Args:
        weights: state dict that is loaded.
        expected: state dict of the network.
    """
    own = [value for key, value in expected.items() if key.endswith(STEMS)]
    for key, value in weights.items():
        if not (own and key.endswith(STEMS) and value.ndim == 4 and value.shape[1] == 3):
            continue
        bands = own[0].shape[1]
        if bands != 3:
            weights[key] = adapt_input_conv(bands, value)
            logger.info("Spread the RGB weights of %s over %d bands.", key, bands)
