"""docs/CUSTOM_DATA.md works as it is written."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest
from forked_commands import Command
from project import ROOT
from scenes import unregister
from served_page import until

from efficientps_d2_cli.main import main

LONG = "OUTPUT_DIR output/mine"  # trainings that the test interrupts


def interrupted(arguments: list[str], output: Path) -> str:
    """Run a command, and press Ctrl-C after some iterations. Returns its output."""
    command = Command(arguments, output, Path.cwd())
    until(lambda: "An iteration takes" in command.text() or command.poll(), 120)
    command.send_signal(signal.SIGINT)
    assert command.wait() == 130, f"{arguments}\n{command.text()[-3000:]}"
    return command.text()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The current folder is a copy of the project without data."""
    for name in ("tools", "configs", "train_net.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", "datasets")
    yield
    for name in ("mine_train", "mine_val"):
        unregister(name)


def test_the_tutorial_runs_as_written(project, capfd, tmp_path):
    def run(command: str) -> str:
        """What a command prints; those that end by themselves run here, which saves imports."""
        name, *arguments = shlex.split(command)
        if LONG in command:
            return interrupted(arguments, tmp_path / "output.txt")
        status = main(arguments)
        output, errors = capfd.readouterr()
        assert (name, status) == ("efficientps-d2", 0), f"{command}\n{output[-2000:]}{errors}"
        return output

    text = (ROOT / "docs" / "CUSTOM_DATA.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    commands = [c for block in blocks for c in block.replace("\\\n", " ").strip().splitlines()]
    assert len(commands) == 9
    assert "MAX_ITER 10 " in commands[4]
    commands[4] = commands[4].replace("MAX_ITER 10 ", "MAX_ITER 2 ")
    outputs = [run(c) for c in commands]

    content = json.loads(Path("datasets/mine/train/panoptic.json").read_text())
    assert len(content["images"]) == 16 and len(content["categories"]) == 11
    assert len(list(Path("output/check/mine_train").iterdir())) == 3
    assert len(list(Path("output/trial/pictures").iterdir())) == 4
    assert "PQ" in Path("output/trial/results.md").read_text()
    assert 'Values that were "auto"' in outputs[4] and "median thing" in outputs[4]
    assert "Training from iteration 0" in outputs[5]
    assert re.search(r"Training from iteration [1-9]", outputs[6])
    assert "Results on mine_val" in outputs[7]
    assert "Training from iteration 0" in outputs[8], "of Panoptic FPN"
