"""Cityscapes' own evaluators: scores of each class, and a remedy for newer Detectron2."""

import contextlib
import importlib
import importlib.util
import os
import sys
import types

from detectron2.evaluation import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator

SCRIPTS = "cityscapesscripts.evaluation"
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
    """Newer Detectron2 imports an internal name: make it an alias of the package (its #5436)."""
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


class CityscapesAPEvaluator(CityscapesInstanceEvaluator):
    """Cityscapes' instance AP, also of each class, and without its file ``matches.json``."""

    def evaluate(self):
        """As in :class:`CityscapesInstanceEvaluator`."""
        scripts = importlib.import_module(f"{SCRIPTS}.evalInstanceLevelSemanticLabeling")
        write, folder = scripts.writeDict2JSON, self._temp_dir
        # It would write into the working directory.
        scripts.writeDict2JSON = lambda content, path: write(content, os.path.join(folder, path))
        try:
            with returned_by(scripts, "evaluateImgLists") as returned:
                results = super().evaluate()
        finally:
            scripts.writeDict2JSON = write
        for details in returned:
            for name, values in details["averages"]["classes"].items():
                results["segm"][f"AP-{name}"] = 100 * values["ap"]
        return results


class CityscapesIoUEvaluator(CityscapesSemSegEvaluator):
    """Cityscapes' IoU, also of each class; ``mIoU`` is its mean over classes."""

    def evaluate(self):
        """As in :class:`CityscapesSemSegEvaluator`."""
        scripts = importlib.import_module(f"{SCRIPTS}.evalPixelLevelSemanticLabeling")
        with returned_by(scripts, "evaluateImgLists") as returned:
            results = super().evaluate()
        for details in returned:
            results["sem_seg"]["mIoU"] = results["sem_seg"]["IoU"]
            for name, score in details["classScores"].items():
                results["sem_seg"][f"IoU-{name}"] = 100 * score
        return results


@contextlib.contextmanager
def returned_by(module, name: str):
    """A list of what a function of a module returns within the block: its callers drop details."""
    function, results = getattr(module, name), []

    def keep(*args):
        results.append(function(*args))
        return results[-1]

    setattr(module, name, keep)
    try:
        yield results
    finally:
        setattr(module, name, function)
