"""Is this the environment of the installation?"""

import importlib.util
import sys


def require_packages() -> None:
    """End the program with a sentence if PyTorch or Detectron2 is missing."""
    if importlib.util.find_spec("torch") is None:
        sys.exit(
            "Error: PyTorch is not installed here; activate the environment of the installation, "
            "for instance with: source .venv/bin/activate"
        )
    if importlib.util.find_spec("detectron2") is None:
        sys.exit(
            "Error: Detectron2 is not installed here; run efficientps-d2-install-detectron2, or in "
            "a clone: python tools/install_detectron2.py"
        )
