"""Where the project lies, and its scripts as modules."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def load_tool(name: str):
    """A script of tools/, or demo.py, as a module."""
    file = ROOT / ("" if name == "demo" else "tools") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
