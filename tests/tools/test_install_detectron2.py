"""The installer of Detectron2 and panopticapi: hash check, repacking, what is skipped, errors."""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from project import load_tool

install_detectron2 = load_tool("install_detectron2")
METADATA = """Metadata-Version: 2.1
Name: sal-detectron2
Requires-Dist: Pillow>=7.1
Requires-Dist: numpy<2
Requires-Dist: numpy<2.0.0,>=1.23.5; python_version > "3"
Requires-Dist: numpy-quaternion<9

The sources want numpy<2.
"""


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A wheel of the same shape as the real one."""
    path = tmp_path / "sal_detectron2-0.7.2-cp310-none-any.whl"
    info = "sal_detectron2-0.7.2.dist-info"
    with zipfile.ZipFile(path, "w") as f:
        f.writestr("detectron2/__init__.py", "__version__ = '0.7.2'\n")
        f.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", b"\x7fELF")
        f.writestr("tools/__init__.py", "")
        f.writestr(f"{info}/METADATA", METADATA)
        f.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp310-none-any\n\n"
        )
        f.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def other_wheel(tmp_path) -> Path:
    """A wheel of the same shape as that of panopticapi-lite, which is pure already."""
    path = tmp_path / "panopticapi_lite-0.2.0-py3-none-any.whl"
    info = "panopticapi_lite-0.2.0.dist-info"
    with zipfile.ZipFile(path, "w") as f:
        f.writestr("panopticapi/__init__.py", "")
        f.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.4\nName: panopticapi-lite\nVersion: 0.2.0\n"
            "Requires-Dist: numpy<2.0.0,>=1.23.5\n",
        )
        f.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        f.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def accepted(wheel, other_wheel, monkeypatch) -> list[str]:
    """The arguments that give both wheels, whose hashes count as right."""
    arguments = []
    for module, file in (("detectron2", wheel), ("panopticapi", other_wheel)):
        requirement, _ = install_detectron2.SOURCES[module]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        monkeypatch.setitem(install_detectron2.SOURCES, module, (requirement, digest))
        arguments += ["--wheel", str(file)]
    return arguments


@pytest.fixture
def installed(monkeypatch) -> list[list[str]]:
    """What pip was told to install, which it does not do."""
    commands = []
    monkeypatch.setattr(
        install_detectron2.subprocess, "run", lambda command, check: commands.append(command)
    )
    return commands


def pretend_missing(monkeypatch, *modules: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in modules else find(name)
    )


def metadata_of(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as f:
        (name,) = [n for n in f.namelist() if n.endswith("/METADATA")]
        return f.read(name).decode()


def test_repacked_wheel_is_pure(wheel, tmp_path):
    (tmp_path / "out").mkdir()
    pure = install_detectron2.repack_pure(wheel, tmp_path / "out")
    assert pure.name == "sal_detectron2-0.7.2-py3-none-any.whl"
    with zipfile.ZipFile(pure) as f:
        names = f.namelist()
        wheel_file = f.read("sal_detectron2-0.7.2.dist-info/WHEEL").decode()
        record = f.read("sal_detectron2-0.7.2.dist-info/RECORD").decode()
    assert not any(n.startswith("tools/") or n.endswith(".so") for n in names)
    assert "Tag: py3-none-any" in wheel_file and "cp310" not in wheel_file
    assert "Root-Is-Purelib: true" in wheel_file
    assert "detectron2/__init__.py,sha256=" in record


def test_repacked_wheel_leaves_numpy_alone(wheel, tmp_path):
    (tmp_path / "out").mkdir()
    pure = install_detectron2.repack_pure(wheel, tmp_path / "out")
    expected = METADATA.replace("Dist: numpy<2\n", "Dist: numpy\n")
    expected = expected.replace("numpy<2.0.0,>=1.23.5;", "numpy;")
    assert metadata_of(pure) == expected


def test_wrong_hash(wheel, tmp_path):
    with pytest.raises(SystemExit, match="sha256 .* instead of 491af0c7"):
        install_detectron2.main(["--wheel", str(wheel), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_wheels_that_are_written(accepted, tmp_path):
    install_detectron2.main([*accepted, "--output", str(tmp_path / "out")])
    wheels = sorted((tmp_path / "out").iterdir())
    assert [p.name for p in wheels] == [
        "panopticapi_lite-0.2.0-py3-none-any.whl",
        "sal_detectron2-0.7.2-py3-none-any.whl",
    ]
    assert all("<2\n" not in metadata_of(p) for p in wheels)
    assert metadata_of(wheels[0]).endswith("Requires-Dist: numpy\n")


@pytest.mark.parametrize(
    "missing, expected",
    [
        (["detectron2"], ["sal_detectron2-0.7.2"]),
        (["panopticapi"], ["panopticapi_lite-0.2.0"]),  # Detectron2 from its repository
        (["detectron2", "panopticapi"], ["sal_detectron2-0.7.2", "panopticapi_lite-0.2.0"]),
    ],
)
def test_only_what_is_missing_is_installed(accepted, monkeypatch, installed, missing, expected):
    pretend_missing(monkeypatch, *missing)
    install_detectron2.main(accepted)
    (command,) = installed
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    files = [Path(word).name for word in command if word.endswith(".whl")]
    assert files == [f"{name}-py3-none-any.whl" for name in expected]


def test_wheel_of_something_else(tmp_path):
    other = tmp_path / "numpy-1.26.4-py3-none-any.whl"
    with pytest.raises(SystemExit, match="numpy-1.26.4.*does not exist"):
        install_detectron2.main(["--wheel", str(other)])
    other.touch()
    with pytest.raises(SystemExit, match="neither sal_detectron2-.*whl nor panopticapi_lite-"):
        install_detectron2.main(["--wheel", str(other)])


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(SystemExit, match="Could not download sal-detectron2.*--wheel FILE"):
        install_detectron2.main(["--output", str(tmp_path)])


def test_installed_already(capsys, installed):
    install_detectron2.main([])
    assert "already installed" in capsys.readouterr().out
    assert installed == []


@pytest.mark.parametrize("module", ["detectron2", "panopticapi"])
def test_the_package_names_what_is_missing(module):
    code = (
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        f"util.find_spec = lambda name: None if name == '{module}' else find(name)\n"
        "import efficientps_d2\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{module} is not installed; run efficientps-d2-install-det" in run.stderr.lower()
