"""The installer of Detectron2: hash check, repacking, errors."""

import zipfile
from pathlib import Path

import pytest
from project import load_tool

install_detectron2 = load_tool("install_detectron2")


@pytest.fixture
def wheel(tmp_path) -> Path:
    """A wheel of the same shape as the real one."""
    path = tmp_path / "sal_detectron2-0.7.2-cp310-none-any.whl"
    info = "sal_detectron2-0.7.2.dist-info"
    with zipfile.ZipFile(path, "w") as f:
        f.writestr("detectron2/__init__.py", "__version__ = '0.7.2'\n")
        f.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", b"\x7fELF")
        f.writestr("tools/__init__.py", "")
        f.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sal-detectron2\n")
        f.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp310-none-any\n\n"
        )
        f.writestr(f"{info}/RECORD", "")
    return path


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


def test_wrong_hash(wheel, tmp_path):
    with pytest.raises(SystemExit, match="sha256 .* instead of 491af0c7"):
        install_detectron2.main(["--wheel", str(wheel), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_right_hash(wheel, tmp_path, monkeypatch, capsys):
    import hashlib

    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(install_detectron2, "SHA256", digest)
    install_detectron2.main(["--wheel", str(wheel), "--output", str(tmp_path / "out")])
    assert [p.name for p in (tmp_path / "out").iterdir()] == [
        "sal_detectron2-0.7.2-py3-none-any.whl"
    ]


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(SystemExit, match="Could not download sal-detectron2.*--wheel FILE"):
        install_detectron2.main(["--output", str(tmp_path)])


def test_installed_already(capsys):
    install_detectron2.main([])
    assert "already installed" in capsys.readouterr().out
