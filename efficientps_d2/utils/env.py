"""What commands do to the process they run in; a library leaves that to its user."""

import logging
import warnings


def quiet_known_warnings() -> None:
    """Hide what PyTorch says of calls in Detectron2, which users of a command cannot change."""
    warnings.filterwarnings("ignore", category=UserWarning, message="torch.meshgrid")
    warnings.filterwarnings("ignore", category=FutureWarning, message="`broadcast_buffers`")
    for name in ("torch.fx._symbolic_trace", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
