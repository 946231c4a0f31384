"""What make does before a GPU is needed, with a Python that only writes down its calls."""

import os
import shutil
import subprocess

import pytest
from project import ROOT

CHECK = ["streets --if-missing", "tools/cuda/run.py"]
INPUTS = ("Makefile", "pyproject.toml", "runtime/pyproject.toml", "tools/install_detectron2.py")


@pytest.fixture
def make(tmp_path):
    """A function: the status of make, what it prints, and what Python is called with instead."""
    for name in INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(
        '#!/bin/sh\necho "$@" >> log\ntest -d .venv || { mkdir -p .venv/bin; '
        'for x in python uv efficientps-d2; do cp "$0" .venv/bin/$x; done; }\n'
    )
    python.chmod(0o755)
    # Without flags of a make that runs these tests.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}

    def make(target, python="./python"):
        log.write_text("")
        command = ["make", "-C", tmp_path, target, f"PYTHON={python}"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        return run.returncode, run.stdout + run.stderr, log.read_text().splitlines()

    return make


def test_without_what_it_needs_make_cuda_says_what_to_do(make, tmp_path):
    status, said, calls = make("cuda")
    assert status and "copy cuda-wheels/ here" in said
    assert not calls and not (tmp_path / ".venv").exists()
    (tmp_path / "cuda-wheels").mkdir()
    for target in ("cuda", "venv"):
        status, said, calls = make(target, python="")
        assert status and "Python 3.11, 3.12 or 3.13 is needed" in said and not calls


def test_make_cuda_installs_from_wheels_and_once(make, tmp_path):
    (tmp_path / "cuda-wheels").mkdir()
    _, said, calls = make("cuda")
    assert calls[0] == "-m venv .venv" and calls[2:] == CHECK, said
    assert calls[1].startswith("-m pip install --no-index --find-links cuda-wheels -e runtime")
    assert make("cuda")[2] == CHECK
    os.utime(tmp_path / ".venv" / "installed", (1, 1))  # older than pyproject.toml
    assert "--no-index" in make("cuda")[2][0]
    assert make("test")[2] == ["-m pytest -n auto"]
