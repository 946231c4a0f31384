"""Every command on small data, for the tests that disturb it."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from forked_commands import Command
from import_sources import write_many
from PIL import Image
from project import ROOT
from scenes import write_dataset

from efficientps_d2.checkpoint.weights_file import is_whole, read_weights
from efficientps_d2.config.building import build_network
from efficientps_d2.config.loading import load_config, without_cuda
from efficientps_d2.deploy.convert import convert_checkpoint

# Of `make test-faults`; in `make test` only quick cases are tried, once.
TRIES = int(os.environ.get("FAULT_TRIES", "0"))
RUN = ROOT / "tests" / "helpers" / "earlier" / "earlier_run"
LEFTOVERS = ("*.partial", "*.partial.*", ".*")


@dataclass
class Case:
    """A command in a world; it may write nothing but ``outputs``, names there."""

    arguments: list[str]
    outputs: tuple[str, ...]
    whole: Callable[[Path], None]  # fails if an output is neither absent, nor former, nor whole
    keeps: bool = False  # refuses to replace what is there

    def start(self, world: Path, file_limit: int | None = None) -> Command:
        """Run it, with a limit of the bytes that it can write to a file."""
        output, variables = world.parent / "output.txt", {"DETECTRON2_DATASETS": str(world)}
        return Command(self.arguments, output, world, variables, file_limit=file_limit)

    def complete(self, world: Path) -> float:
        """Run it to its end, which must be good; returns the seconds."""
        start = time.monotonic()
        command = self.start(world)
        assert command.wait() == 0, command.text()[-2000:]
        self.whole(world)
        for output in self.outputs:
            assert (world / output).exists(), output
        return time.monotonic() - start

    def inputs(self, world: Path) -> dict[str, bytes]:
        """All files that are no outputs, and not a beginning of one, by their names."""
        files = (file for file in world.rglob("*") if file.is_file())
        names = {str(file.relative_to(world)): file for file in files}
        return {
            name: file.read_bytes()
            for name, file in names.items()
            if not name.startswith((*self.outputs, ".")) and ".partial" not in name
        }

    def leftovers(self, world: Path) -> list[str]:
        found = {file.name for pattern in LEFTOVERS for file in world.rglob(pattern)}
        return sorted(found - {".lock"})


def make_world(folder: Path, name: str) -> Path:
    """A dataset, a run that is trained and evaluated, and what else a case needs."""
    world = folder / "world"
    world.mkdir(parents=True)
    write_dataset(world / "toy" / "train", "mixed")
    shutil.copytree(RUN, world / "run")
    for lines in (world / "run" / "inference").glob("*.jsonl"):
        lines.write_text(lines.read_text().replace("DATASETS", str(world)))
    write_many(world / "annotated", 6)
    if name.startswith("convert"):
        _add_official_checkpoint(world)
    return world


def _add_official_checkpoint(world: Path) -> None:
    """What ``convert`` reads: random weights under the names of the authors' code."""
    small = (
        "MODEL: {EFFICIENTNET: {NAME: tf_efficientnet_b0, WEIGHTS: ''}, FPN: {OUT_CHANNELS: 16}}"
    )
    (world / "official.yaml").write_text(f"_BASE_: efficientps_cityscapes_official.yaml\n{small}\n")
    cfg = without_cuda(load_config(str(world / "official.yaml")))
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.ROI_HEADS.NUM_CLASSES = 4, 2
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = [2, 3]
    torch.save({"model": build_network(cfg).state_dict()}, world / "ours.pth")
    convert_checkpoint(world / "ours.pth", world / "official.pth", cfg, reverse=True)


def alive(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended just now
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def end_all(session: int) -> None:
    for process in alive(session):
        os.kill(process, signal.SIGKILL)


def _checkpoints(world: Path) -> None:
    folder = world / "run"
    assert all(is_whole(file) for file in folder.glob("*.pth"))
    assert (folder / (folder / "last_checkpoint").read_text()).is_file()
    for line in (folder / "metrics.json").read_text().splitlines()[:-1]:
        json.loads(line)


def _results(world: Path) -> None:
    content = json.loads((world / "run" / "inference" / "toy_train_metrics.json").read_text())
    assert "panoptic_seg/PQ" in content["results"]


def _dataset(*names: str) -> Callable[[Path], None]:
    def whole(world: Path) -> None:
        for folder in (world / name for name in names if (world / names[0]).exists()):
            content = json.loads((folder / "panoptic.json").read_text())
            for entries, kind in (("images", "images"), ("annotations", "panoptic")):
                for entry in content[entries]:
                    with Image.open(folder / kind / entry["file_name"]) as image:
                        image.load()

    return whole


def _streets(world: Path) -> None:
    if (world / "painted").exists():
        json.loads((world / "painted" / "streets.json").read_text())
        for file in (world / "painted").rglob("*.png"):
            with Image.open(file) as image:
                image.load()


def _images(world: Path) -> None:
    for file in (world / "drawn").glob("*.[pj][np]g") if (world / "drawn").exists() else ():
        if ".partial" not in file.name:
            with Image.open(file) as image:
                image.load()


def _page(world: Path) -> None:
    file = world / "page.html"
    assert not file.exists() or file.read_text().rstrip().endswith("</html>")


def _checkpoint(name: str) -> Callable[[Path], None]:
    def whole(world: Path) -> None:
        if (world / name).exists():
            assert read_weights(world / name)

    return whole


def _program(world: Path) -> None:
    if (world / "network.ts").exists():
        torch.jit.load(world / "network.ts")


_TRAIN = ["train", "--config-file", "run/config.yaml", "--resume", "--force"]
_KEYS = [
    "OUTPUT_DIR",
    "run",
    "SOLVER.MAX_ITER",
    "106",
    "SOLVER.CHECKPOINT_PERIOD",
    "2",
    "SOLVER.STEPS",
    "()",
]
_LABELS = ["--things", "car", "--stuff", "road"]
CASES = {
    "import": Case(
        ["import", "labelme", "annotated", "mine", *_LABELS],
        ("mine",),
        _dataset("mine/train", "mine/val"),
        keeps=True,
    ),
    "fix": Case(
        ["check", "toy/train", "--fix", "fixed"], ("fixed",), _dataset("fixed"), keeps=True
    ),
    "streets": Case(
        ["streets", "--output", "painted", "--train", "6", "--val", "2"], ("painted",), _streets
    ),
    "train": Case([*_TRAIN, *_KEYS], ("run",), _checkpoints),
    "evaluate": Case(
        ["evaluate", "--config-file", "run/config.yaml", "--resume", "OUTPUT_DIR", "run"],
        ("run",),
        _results,
    ),
    "predict": Case(
        ["predict", "toy/train/images/sub", "--model", "run/model", "--output", "drawn"]
        + ["--save-json"],
        ("drawn",),
        _images,
    ),
    "report": Case(["report", "run", "--output", "page.html"], ("page.html",), _page),
    "convert": Case(
        ["convert", "official.pth", "converted.pth", "--config-file", "official.yaml"],
        ("converted.pth",),
        _checkpoint("converted.pth"),
    ),
    "convert to safetensors": Case(
        ["convert", "official.pth", "converted.safetensors", "--config-file", "official.yaml"],
        ("converted.safetensors",),
        _checkpoint("converted.safetensors"),
    ),
    "export": Case(
        ["export", "--model", "run/model", "--format", "torchscript", "--output", "network.ts"],
        ("network.ts",),
        _program,
    ),
}
