"""What tools/cuda says of a machine; the numbers themselves need a GPU."""

import argparse
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from project import ROOT, load_tool

from efficientps_d2.config.loading import load_config
from efficientps_d2.engine import default_argument_parser
from efficientps_d2.evaluation.results import FOLDER, RESULTS

sys.path.insert(0, str(ROOT / "tools" / "cuda"))
run = load_tool("cuda/run")
sys.path.remove(str(ROOT / "tools" / "cuda"))
compare = sys.modules["agreement"]._compare
# What a benchmark measures of a network.
COSTS = dict.fromkeys(("forward", "backward", "optimizer", "objects", "parameters"), 1.0)
COSTS |= {"whole": 31.0, "memory": 512.0, "multiply-adds": 261.0}
PRECISIONS = ["float32", "float16", "bfloat16"]


class Commands:
    """Calls the programs of commands as functions, which read their words but compute nothing.

    Attributes:
        args: of run.py.
        words: of each command.
        cfgs: of each training.
        says: what all print.
        measured: how many of the networks a benchmark measures; None fails, as one call does.
    """

    def __init__(self, monkeypatch, folder: Path):
        monkeypatch.setattr(run.commands, "call", self)
        monkeypatch.syspath_prepend(str(ROOT / "tools" / "benchmarks"))
        self.args = argparse.Namespace(device="cuda", output=folder, short=False)
        self.words, self.cfgs, self.says, self.measured = [], [], "", 99
        self.benchmarks = {n: importlib.import_module(n) for n in ("inference", "training")}
        for module in self.benchmarks.values():
            monkeypatch.setattr(module, "in_turns", self._in_turns)
        monkeypatch.setattr(self.benchmarks["inference"], "machine_peak", lambda *_: 1.0)

    def __call__(self, program, *words, **variables) -> str:
        program, words = Path(program), [str(word) for word in words]
        self.words.append(words)
        if program.name == "train_net.py":
            self._train(words)
        elif program == Path("-m"):
            self._test(words, variables)
        else:
            assert program.parent == ROOT / "tools" / "benchmarks"
            self.benchmarks[program.stem].main(words)
        return self.says

    def _in_turns(self, networks, *_):
        if self.measured is None:
            raise run.commands.Failed(["training.py"], self.says)
        return {name: dict(COSTS) for name in networks[: self.measured]}

    def _train(self, words):
        args = default_argument_parser().parse_args(words)
        cfg = load_config(args.config_file, args.opts)
        self.cfgs.append(cfg)
        folder = Path(cfg.OUTPUT_DIR, FOLDER)
        folder.mkdir(parents=True)
        results = {f"panoptic_seg/{name}": 60.0 for name in ("PQ", "PQ_th", "PQ_st")}
        (folder / f"streets_val{RESULTS}").write_text(json.dumps({"results": results}))

    def _test(self, words, variables):
        conftest = ROOT / words[words.index("tests/cuda")] / "conftest.py"
        assert list(variables) == ["TEST_DEVICE"] and '"TEST_DEVICE"' in conftest.read_text()
        (report,) = (w.partition("=")[2] for w in words if w.startswith("--junitxml="))
        suite = '<testsuite name="pytest" errors="0" failures="0" skipped="1" tests="30"/>'
        Path(report).write_text(f"<testsuites>{suite}</testsuites>")

    def rows(self, part: str) -> list[dict]:
        return run.PARTS[part](self.args)


@pytest.fixture
def commands(monkeypatch, tmp_path):
    return Commands(monkeypatch, tmp_path)


def output(ids, classes):
    segments = [{"id": number, "category_id": name} for number, name in classes.items()]
    return {"panoptic_seg": (torch.tensor(ids, dtype=torch.int32), segments)}


def test_agreement_is_of_classes_whatever_the_ids():
    expected = [output([[1, 1, 2, 0]], {1: 7, 2: 3})]
    assert compare(expected, [output([[2, 2, 1, 0]], {2: 7, 1: 3})]) == {
        "same class of pixels": 1.0,
        "same number of segments": 1.0,
    }


def test_void_and_other_classes_disagree():
    expected = [output([[1, 1, 2, 0]], {1: 7, 2: 3})]
    other = [output([[1, 0, 2, 2]], {1: 7, 2: 4})]
    assert compare(expected, other)["same class of pixels"] == 0.25
    assert compare(expected, [output([[1, 1, 1, 1]], {1: 7})])["same number of segments"] == 0


def test_a_part_that_fails_does_not_stop_the_others(tmp_path, capsys):
    def broken(args):
        raise RuntimeError("out of luck")

    parts = {"first": broken, "second": lambda args: [{"ms": 12.345}]}
    args = argparse.Namespace(device="cpu", output=tmp_path)
    assert not run.run_parts(parts, args)
    found = json.loads((tmp_path / "cuda.json").read_text())
    assert found["first"] == [{"error": "out of luck"}] and found["second"] == [{"ms": 12.345}]
    assert found["machine"].startswith("CPU, PyTorch ")
    page = (tmp_path / "cuda.md").read_text()
    assert "## second, 0 s" in page and "12.35" in page
    assert run.run_parts({"second": parts["second"]}, args)
    assert run.run_parts({"steps": lambda args: [{"result": "out of memory"}]}, args)
    assert not run.run_parts({"steps": lambda args: [{"ms": 1.0}, {"error": "no number"}]}, args)


def test_a_command_that_fails_is_shown_with_its_last_lines():
    with pytest.raises(run.commands.Failed, match="(?s)SystemExit|no such thing"):
        run.commands.call("-c", "raise SystemExit('no such thing')")
    run.commands.call("-c", "import os; assert os.environ['TEST_DEVICE'] == 'x'", TEST_DEVICE="x")


def test_without_cuda_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA device; --device cpu --short tries"):
        run.main([])


def after(words, flag):
    """The word after a flag, or None without that flag."""
    return words[words.index(flag) + 1] if flag in words else None


def test_pytest_is_told_of_the_device_and_writes_where_it_is_read(commands):
    assert commands.rows("tests") == [{"tests": 30, "skipped": 1}]


def test_trainings_have_their_precision(commands):
    rows = commands.rows("training")
    assert rows == [{"precision": p, "PQ": 60.0, "PQ_th": 60.0, "PQ_st": 60.0} for p in PRECISIONS]
    amp = [(cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.DTYPE) for cfg in commands.cfgs]
    assert not amp[0][0] and amp[1:] == [(True, "float16"), (True, "bfloat16")]
    assert {(cfg.MODEL.DEVICE, cfg.SOLVER.MAX_ITER) for cfg in commands.cfgs} == {("cuda", 300)}


def test_all_gpus_train_together_with_norms_of_all(commands, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert commands.rows("processes") == [{"GPUs": 1, "result": "not run: it needs two"}]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert commands.rows("processes")[0]["processes"] == 3
    (cfg,), (words,) = commands.cfgs, commands.words
    assert after(words, "--num-gpus") == "3" and cfg.SOLVER.IMS_PER_BATCH == 6
    assert {cfg.MODEL[m].NORM for m in ("FPN", "SEM_SEG_HEAD", "ROI_MASK_HEAD")} == {"SyncBN"}


def test_steps_are_measured_with_each_batch_and_precision(commands):
    rows = commands.rows("steps")
    plain = [(r["precision"], r["batch"]) for r in rows if r["network"] == "EfficientPS"]
    assert plain == [(precision, batch) for precision in PRECISIONS for batch in (1, 2, 4)]
    asked = [(after(w, "--amp") or "float32", int(after(w, "--batch"))) for w in commands.words]
    assert asked == plain
    others = {row["network"].partition(", ")[2] for row in rows if row["batch"] == 2}
    assert others == {"", "activation checkpointing", "one image at a time"}
    assert all((row["ms"], row["MB"]) == (31.0, 512.0) for row in rows)
    assert all("--size 1024 2048" in " ".join(words) for words in commands.words)


def test_inferences_are_of_all_networks_in_each_precision(commands):
    rows, networks = commands.rows("inference"), commands.benchmarks["inference"].NETWORKS
    assert [(r["network"], r["precision"]) for r in rows if not r["compiled"]] == [
        (network, precision) for precision in PRECISIONS for network in networks
    ]
    assert all((row["ms"], row["MB"]) == (31.0, 512.0) for row in rows)
    compiled = [words for words in commands.words if "--compile" in words]
    assert [after(words, "--precision") for words in compiled] == ["bfloat16"]


@pytest.mark.parametrize("part", ["tests", "training", "steps", "inference", "processes"])
def test_the_short_form_is_understood_too(commands, part):
    commands.args.device, commands.args.short = "cpu", True
    assert commands.rows(part) and len(commands.words) == (2 if part == "inference" else 1)


def test_a_network_without_room_has_a_row_that_says_so(commands):
    commands.measured = 1
    commands.says = "EfficientPS failed: OutOfMemoryError: CUDA out of memory. Tried ...\n"
    commands.says += "EfficientPS, one image at a time failed: ValueError: no number\nits table"
    rows = [row for row in commands.rows("steps") if row["batch"] == 2][:4]
    assert "ms" in rows[0] and rows[1]["result"] == "out of memory" and "ms" not in rows[1]
    assert rows[2]["error"] == "its table" and rows[3]["error"] == "ValueError: no number"


def test_a_benchmark_that_fails_does_not_stop_the_others(commands):
    commands.measured = None
    commands.says = "Traceback\ntorch.OutOfMemoryError: CUDA out of memory."
    assert {row["result"] for row in commands.rows("steps")} == {"out of memory"}
    assert len(commands.words) == 9
    commands.says = "training.py: error: unrecognized arguments: --ampere"
    assert {row["error"] for row in commands.rows("steps")} == {commands.says}
