"""A training on two machines, as two agents of torchrun: one is killed, or hangs.

Only `make test-faults` does this; tests/engine/test_launch.py tests the parts.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_cases import TRIES
from project import ROOT
from scenes import write_dataset
from served_page import until

KEYS = (
    *("MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.FPN.OUT_CHANNELS", "16"),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.ROI_BOX_HEAD.FC_DIM", "32"),
    *("MODEL.ROI_MASK_HEAD.CONV_DIM", "16", "INPUT.CROP.SIZE", "(64, 96)"),
    *("DATASETS.TRAIN", "('toy_train',)", "DATASETS.TEST", "('toy_train',)"),
    *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "60", "SOLVER.CHECKPOINT_PERIOD", "10"),
    *("TEST.EVAL_PERIOD", "0", "TEST.PICTURES", "0", "DATALOADER.NUM_WORKERS", "0", "SEED", "3"),
)


class Agent:
    """One machine: torchrun with one process."""

    def __init__(self, folder: Path, number: int, port: int, name: str, *keys: str):
        self.log = folder / f"{name}.txt"
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
            *("--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "test"),
            *("--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-conf", f"is_host={number == 0:d}"),
            *("--max-restarts", "3", "--monitor-interval", "0.5", str(ROOT / "train_net.py")),
            *("--config-file", str(ROOT / "configs" / "efficientps_streets.yaml"), "--resume"),
            *("--timeout", "20", *KEYS, "OUTPUT_DIR", str(folder / "run"), *keys),
        ]
        environment = {
            **os.environ,
            "DETECTRON2_DATASETS": str(folder),
            "OMP_NUM_THREADS": "1",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def worker(self) -> int:
        """The process that trains."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        return int(children.stdout.split()[0])

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def agents(tmp_path):
    """A function that starts an agent; all are ended at the end."""
    (tmp_path / "toy").mkdir()
    write_dataset(tmp_path / "toy" / "train", count=8)
    port, begun = 20_000 + os.getpid() % 10_000, []

    def begin(number: int, name: str, *keys: str) -> Agent:
        begun.append(Agent(tmp_path, number, port, name, *keys))
        return begun[-1]

    yield begin
    for agent in begun:
        agent.end()


def losses(folder: Path) -> dict[int, float]:
    """The total loss of the iterations that are in metrics.json."""
    lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
    return {x["iteration"]: x["total_loss"] for x in lines if "total_loss" in x}


def reached(agents: list[Agent], iteration: int) -> bool:
    numbers = [int(n) for agent in agents for n in re.findall(r"iter: (\d+)", agent.text())]
    return max(numbers, default=-1) >= iteration


def finished(agents: list[Agent]) -> bool:
    return all(agent.process.poll() is not None for agent in agents)


if TRIES:  # minutes

    def test_a_machine_that_is_lost_and_comes_back(agents, tmp_path):
        both = [agents(0, "a"), agents(1, "b")]
        until(lambda: finished(both), 300)
        assert [agent.process.returncode for agent in both] == [0, 0], both[0].text()[-3000:]
        (tmp_path / "run").rename(tmp_path / "undisturbed")
        both = [agents(0, "c"), agents(1, "d")]
        until(lambda: reached(both, 19), 300)
        both[1].end()
        both[1] = agents(1, "e")
        until(lambda: finished(both), 300)
        assert [agent.process.returncode for agent in both] == [0, 0], both[0].text()[-3000:]
        text = both[0].text() + both[1].text()
        assert "Training from iteration 20 to 59" in text
        found, expected = losses(tmp_path / "run"), losses(tmp_path / "undisturbed")
        assert found[59] == expected[59] and found[39] == expected[39]

    def test_a_process_that_hangs(agents, tmp_path):
        both = [agents(0, "a"), agents(1, "b")]
        until(lambda: reached(both, 19), 300)
        hanging = both[1].worker()
        os.kill(hanging, signal.SIGSTOP)
        until(lambda: "Another process has not answered for 20 seconds" in both[0].text(), 120)
        until(lambda: finished(both), 300)
        assert [agent.process.returncode for agent in both] == [0, 0], both[0].text()[-3000:]
        assert "Training from iteration 20 to 59" in both[0].text() + both[1].text()
