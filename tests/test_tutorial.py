"""docs/CUSTOM_DATA.md works as it is written: its bash blocks and its Python code."""

import json
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile
from forked_commands import Command
from project import ROOT
from scenes import unregister
from served_page import until

from efficientps_d2_cli.main import main

PAGE = (ROOT / "docs" / "CUSTOM_DATA.md").read_text()
LONG = "OUTPUT_DIR output/mine"  # trainings that the test interrupts
OF_BANDS = "check fields_train"  # what the Python code writes


def commands_of(page: str) -> list[str]:
    """The lines of all bash blocks of a page, without their breaks."""
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [c for block in blocks for c in block.replace("\\\n", " ").strip().splitlines()]


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
    for name in ("mine_train", "mine_val", "fields_train"):
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

    commands = [command for command in commands_of(PAGE) if OF_BANDS not in command]
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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_the_code_of_the_page_writes_what_check_accepts(project, monkeypatch, capsys, dtype):
    """Ids of maps of any type; the command is the page's, too."""
    folder = Path("datasets/fields/train").absolute()
    for part in ("images", "panoptic"):
        (folder / part).mkdir(parents=True)
    classes, numbers = np.zeros((2, 24, 32), dtype)
    classes[4:], numbers[4:16, :9], numbers[4:16, 20:] = 1, 1, 200
    classes[numbers > 0] = 2
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = code.replace("# write(...) for each image", "write('A', classes, numbers, content)  #")
    bands = np.dstack([classes] * 4).astype(np.float32)
    tifffile.imwrite(folder / "images" / "A.tif", bands, photometric="minisblack")
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        exec(code, {"classes": classes, "numbers": numbers})
    (command,) = (command for command in commands_of(PAGE) if OF_BANDS in command)
    assert main(shlex.split(command)[1:]) == 0
    assert "Errors: 0, warnings: 0." in capsys.readouterr().out
    annotation = json.loads((folder / "panoptic.json").read_text())["annotations"][0]
    ids = [segment["id"] for segment in annotation["segments_info"]]
    assert ids == [65536, 2 * 65536 + 1, 2 * 65536 + 200]
