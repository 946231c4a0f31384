"""Warnings of libraries about calls in others, which users of a command cannot change."""

import logging
import warnings

from PIL import Image


def quiet_known_warnings() -> None:
    """Hide them in this process; a library leaves that to its user."""
    warnings.filterwarnings("ignore", category=UserWarning, message="torch.meshgrid")
    warnings.filterwarnings("ignore", category=FutureWarning, message="`broadcast_buffers`")
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # below its limit
    for name in ("torch.fx._symbolic_trace", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
