"""Where the project lies, its commands, and its scripts as modules."""

import contextlib
import importlib.util
import io
from pathlib import Path

import torch

from efficientps_d2_cli.main import main

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
# An untrained model says something, everywhere.
KEEN = (
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0),
    *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.0),
    *("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 1),
    *("TEST.DETECTIONS_PER_IMAGE", 20),  # drawing more takes seconds
)


def run_verb(verb: str, *arguments) -> int:
    """The exit status of ``efficientps-d2 VERB``."""
    return main([verb, *map(str, arguments)])


class Refused(Exception):
    """A command ended with another status than 0; holds the last line of its errors."""


def call_verb(verb: str, *arguments) -> None:
    """Run ``efficientps-d2 VERB``.

    Raises:
        Refused: if it fails.
    """
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        status = run_verb(verb, *arguments)
    if status:
        raise Refused(errors.getvalue().strip().splitlines()[-1])


def load_tool(name: str):
    """A script of tools/ as a module."""
    file = ROOT / "tools" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(Path(name).name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flat_weights(model) -> torch.Tensor:
    """A copy of all parameters, as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])
