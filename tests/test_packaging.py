"""What a wheel carries is enough to work from."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from project import CONFIGS, ROOT

from efficientps_d2 import InputError, get_config
from efficientps_d2.config.loading import load_config
from efficientps_d2.web.static import OWN

SCRIPT = """
from pathlib import Path
import efficientps_d2, efficientps_d2_runtime, install_detectron2
from efficientps_d2_cli.main import main
import efficientps_d2.report.page as report
import jinja2
for package in (efficientps_d2, efficientps_d2_runtime):
    assert Path(package.__file__).parent == Path(package.__name__).resolve()
print(efficientps_d2.get_config("efficientps_cityscapes").SOLVER.MAX_ITER)
status = main(["streets", "--output", "streets", "--train", "1", "--val", "1"])
assert status == 0 and len(list(Path("streets").rglob("*_leftImg8bit.png"))) == 2
model = efficientps_d2.load_predictor("nuclei", "cpu")
assert len(model.metadata.stuff_classes) == 5
loader = jinja2.PackageLoader("efficientps_d2.report", ".")
loader.get_source(jinja2.Environment(), "page.html.jinja")
"""


def test_a_wheel_is_complete(tmp_path):
    """Without isolation and network: setuptools is what `python -m build` would use."""
    source = tmp_path / "source"
    source.mkdir()
    kept = (
        "pyproject.toml",
        "setup.py",
        "README.md",
        "LICENSE",
        "efficientps_d2",
        "configs",
        "efficientps_d2_cli",
        "models",
    )
    for name in (*kept, "tools"):  # building leaves files in the sources
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "runtime", source / "runtime")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--wheel-dir", str(tmp_path), str(source), str(source / "runtime")]
    subprocess.run(command, check=True)
    inside, names = tmp_path / "inside", []
    for wheel in sorted(tmp_path.glob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            names += file.namelist()
            file.extractall(inside)
    assert {f"efficientps_d2/web/static_page/{name}" for name in OWN} <= set(names)
    modules = {Path(name).name for name in names if name.startswith("efficientps_d2_runtime/")}
    assert modules == {path.name for path in (source / "runtime").rglob("*.py")}
    packed = {Path(name).name for name in names if name.startswith("efficientps_d2/configs/")}
    assert packed == {path.name for path in (source / "configs").glob("*.yaml")}
    shipped = {Path(n).name for n in names if n.startswith("efficientps_d2/models/nuclei/")}
    assert shipped == {path.name for path in (source / "models" / "nuclei").iterdir()}
    assert not any(name.startswith(("tests/", "tools/", "efficientps_d2/tests")) for name in names)
    env = {**os.environ, "PYTHONPATH": str(inside)}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=inside, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    iterations = str(get_config("efficientps_cityscapes").SOLVER.MAX_ITER)
    assert run.stdout.splitlines()[0] == iterations


def test_nothing_asked_for_holds_numpy_back():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    assert all(version in wanted["numpy"] for version in ("1.26.4", "2.0.0", "2.5.5"))
    assert "5.0.0.93" in wanted["opencv-python"]  # earlier ones limit NumPy, too
    assert "panopticapi-lite" not in wanted  # its metadata ask for NumPy before 2


def test_configs_by_name():
    assert get_config("efficientps_coco") == load_config(str(CONFIGS / "efficientps_coco.yaml"))
    assert get_config("efficientps_coco", ["SOLVER.MAX_ITER", "7"]).SOLVER.MAX_ITER == 7
    with pytest.raises(InputError, match='no config "efficientps"; take one of .*_coco, '):
        get_config("efficientps")
