"""What commands do to the process they run in; a library leaves that to its user."""

import ctypes
import logging
import sys
import warnings

from PIL import Image

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of mallopt


def quiet_known_warnings() -> None:
    """Hide what libraries say of calls in others, which users of a command cannot change."""
    warnings.filterwarnings("ignore", category=UserWarning, message="torch.meshgrid")
    warnings.filterwarnings("ignore", category=FutureWarning, message="`broadcast_buffers`")
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # below its limit
    for name in ("torch.fx._symbolic_trace", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)


def keep_freed_memory() -> None:
    """Let the process keep large blocks of memory that it frees, instead of asking for new ones.

    glibc gives them back to the system, which fills each new one with zeros: a quarter of the time
    of an inference on a CPU. It is for all of the process. Other systems are left as they are.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # Older ones keep blocks up to 32 MiB only.
        if any(libc.mallopt(MMAP_THRESHOLD, size) for size in (2**31 - 1, 2**25)):
            libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
