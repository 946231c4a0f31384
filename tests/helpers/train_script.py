"""train_net.py in a process of its own, on a network small enough for tests."""

import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from forked_commands import Command
from project import ROOT

CONFIG = "efficientps_streets"  # by its name, as one without a clone would
TINY = [
    *("MODEL.EFFICIENTNET.WEIGHTS", ""),
    *("MODEL.FPN.OUT_CHANNELS", "16", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "16"),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", "32", "MODEL.ROI_MASK_HEAD.CONV_DIM", "16"),
    *("DATASETS.TRAIN", "('toy_train',)", "DATASETS.TEST", "('toy_train',)"),
    *("INPUT.CROP.SIZE", "(64, 96)", "SOLVER.IMS_PER_BATCH", "2"),
    *("SOLVER.STEPS", "(3,)", "SOLVER.CHECKPOINT_PERIOD", "2", "TEST.PICTURES", "1"),
    *("DATALOADER.NUM_WORKERS", "1"),
]


class Result(NamedTuple):
    status: int
    stdout: str
    stderr: str


def start(datasets: Path, output: Path, *arguments) -> Command:
    """``train_net.py``, in a process of its own; what it prints goes to files beside ``output``."""
    arguments = ["--config-file", CONFIG, *arguments, "OUTPUT_DIR", output]
    variables = {"DETECTRON2_DATASETS": str(datasets)}
    files = [output.with_name(f"{output.name}.{stream}") for stream in ("out", "err")]
    return Command(arguments, files[0], ROOT, variables, train_net_main, files[1])


def train_net_main(arguments: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train_net.py", *arguments])
        runpy.run_path(str(ROOT / "train_net.py"), run_name="__main__")


def run(datasets: Path, output: Path, *arguments, check=True) -> Result:
    command = start(datasets, output, *arguments)
    status, errors = command.wait(), command.output.with_suffix(".err").read_text()
    assert not check or status == 0, errors[-3000:]
    return Result(status, command.text(), errors)
