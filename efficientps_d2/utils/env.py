"""What commands do to the process they run in; a library leaves that to its user."""

import logging
import warnings


def quiet_known_warnings() -> None:
    """Hide what PyTorch says of calls in Detectron2, which users of a command cannot change."""
    warnings.filterwarnings("ignore", category=UserWarning, message="torch.meshgrid")
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
