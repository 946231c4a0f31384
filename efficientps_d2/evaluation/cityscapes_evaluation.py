"""Cityscapes' own evaluators: scores of each class, and remedies for newer Detectron2 and NumPy."""

import contextlib
import functools
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
from detectron2.evaluation import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from detectron2.utils import comm

from efficientps_d2.evaluation.prints import prints_in_log
from efficientps_d2_runtime.files import in_use, remove_leftovers

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


class NumPyWithIn1d(types.ModuleType):
    """NumPy with a function that cityscapesscripts 2.3.0 calls and NumPy 2.4 no longer has.

    Only a module of cityscapesscripts sees it, as its ``np``; NumPy itself stays as it is.
    """

    def __getattr__(self, name: str):
        return getattr(np, name)

    @staticmethod
    def in1d(elements, test_elements, invert: bool = False):
        """As it was in NumPy: for each element, in one row, whether it is among the others."""
        return np.isin(elements, test_elements, invert=invert).ravel()


class _FilesInOutput:
    """Evaluators whose files lie in the output folder, where what a killed one left is found."""

    def __init__(self, dataset_name: str, output_folder: str):
        super().__init__(dataset_name)
        # Absolute: cityscapesscripts joins some of its paths to others.
        self._files = Path(output_folder, "cityscapes_eval").absolute()
        self._use = contextlib.ExitStack()

    def reset(self):
        """As in Detectron2's evaluators, which put the files into the folder of all programs."""
        self._use.close()
        self._files.parent.mkdir(parents=True, exist_ok=True)
        if comm.is_main_process():
            remove_leftovers(self._files, f"{self._files.name}_*")
        with replaced(tempfile, tempdir=str(self._files.parent)):
            super().reset()
        if comm.is_main_process():
            self._use.enter_context(in_use(Path(self._temp_dir), self._files.name))
            remove = self._working_dir.cleanup
            self._working_dir.cleanup = functools.partial(self._remove_files, remove)

    def _remove_files(self, remove: Callable[[], None]) -> None:
        self._use.close()  # network shares keep the name of a file that is open
        with contextlib.suppress(OSError):  # what stays is removed by the next evaluation
            remove()


class CityscapesAPEvaluator(_FilesInOutput, CityscapesInstanceEvaluator):
    """Cityscapes' instance AP, also of each class, and without its file ``matches.json``."""

    def evaluate(self):
        """As in :class:`CityscapesInstanceEvaluator`."""
        scripts = importlib.import_module(f"{SCRIPTS}.evalInstanceLevelSemanticLabeling")

        def write(content, path):
            # Not into the working directory; and its own function fails at the integers of NumPy,
            # as which newer versions count pixels.
            with open(os.path.join(self._temp_dir, path), "w") as file:
                json.dump(content, file, default=lambda number: number.item())

        with (
            prints_in_log(),
            replaced(scripts, np=NumPyWithIn1d("numpy"), writeDict2JSON=write),
            returned_by(scripts, "evaluateImgLists") as returned,
        ):
            results = super().evaluate()
        for details in returned:
            for name, values in details["averages"]["classes"].items():
                results["segm"][f"AP-{name}"] = 100 * values["ap"]
        return results


class CityscapesIoUEvaluator(_FilesInOutput, CityscapesSemSegEvaluator):
    """Cityscapes' IoU, also of each class; ``mIoU`` is its mean over classes."""

    def evaluate(self):
        """As in :class:`CityscapesSemSegEvaluator`."""
        scripts = importlib.import_module(f"{SCRIPTS}.evalPixelLevelSemanticLabeling")
        with (
            prints_in_log(),
            replaced(scripts, np=NumPyWithIn1d("numpy")),
            returned_by(scripts, "evaluateImgLists") as returned,
        ):
            results = super().evaluate()
        for details in returned:
            results["sem_seg"]["mIoU"] = results["sem_seg"]["IoU"]
            for name, score in details["classScores"].items():
                results["sem_seg"][f"IoU-{name}"] = 100 * score
        return results


@contextlib.contextmanager
def replaced(module, **others):
    """Within the block, names of a module stand for something else."""
    own = {name: getattr(module, name) for name in others}
    vars(module).update(others)
    try:
        yield
    finally:
        vars(module).update(own)


@contextlib.contextmanager
def returned_by(module, name: str):
    """A list of what a function of a module returns within the block: its callers drop details."""
    function, results = getattr(module, name), []

    def keep(*args):
        results.append(function(*args))
        return results[-1]

    with replaced(module, **{name: keep}):
        yield results
