"""A remedy for newer Detectron2, which imports cityscapesscripts under an internal name."""

import importlib
import importlib.util
import sys
import types

INTERNAL_ROOT = "deeplearning.projects.cityscapesApi"
MODULES = (
    "",
    ".helpers",
    ".helpers.labels",
    ".evaluation",
    ".evaluation.evalInstanceLevelSemanticLabeling",
    ".evaluation.evalPixelLevelSemanticLabeling",
)


def redirect_cityscapesscripts() -> None:
    """Make the internal name an alias of the public package (detectron2#5436)."""
    if "deeplearning" not in sys.modules and importlib.util.find_spec("deeplearning"):
        return  # the real package is there
    for name in ("deeplearning", "deeplearning.projects", INTERNAL_ROOT):
        sys.modules.setdefault(name, types.ModuleType(name))
    for suffix in MODULES:
        module = importlib.import_module(f"cityscapesscripts{suffix}")
        alias = f"{INTERNAL_ROOT}.cityscapesscripts{suffix}"
        sys.modules[alias] = module
        parent, _, leaf = alias.rpartition(".")
        setattr(sys.modules[parent], leaf, module)
