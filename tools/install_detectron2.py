"""Install Detectron2 and panopticapi from PyPI, without GitHub and without a compiler.

PyPI has neither under its own name. ``sal-detectron2`` 0.7.2 holds the Python sources of upstream
commit a59f0563 (2024-04-17) plus one later fix, but its wheel is tagged for CPython 3.10 because
it carries a compiled extension ``_C``, which nothing here needs, and it holds a stray top-level
package ``tools``. ``panopticapi-lite`` 0.2.0 is panopticapi. Both ask for NumPy before 2, and both
work with NumPy 2. This script downloads them, checks their hashes, repacks them as pure Python
without that limit, so that pip leaves an installed NumPy alone, and installs that.
"""

import argparse
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Of each module that is imported: what pip downloads, and the hash of that wheel.
SOURCES = {
    "detectron2": (
        "sal-detectron2==0.7.2",
        "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561",
    ),
    "panopticapi": (
        "panopticapi-lite==0.2.0",
        "58d3ffa842a72240162e7fa744c602a0a5320baabbdb3295d770374f4639b486",
    ),
}
PURE_TAG = "py3-none-any"


def download(requirement: str, folder: Path) -> Path:
    """Fetch the wheel into ``folder`` with pip; the tag cp310 is asked for on any Python."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    command += ["--only-binary=:all:", "--python-version", "3.10", requirement]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise SystemExit(
            f"Could not download {requirement}: {reason[0]} Check the network connection, or pass "
            "a wheel you already have with --wheel FILE."
        )
    return next(folder.glob(f"{wheel_prefix(requirement)}*.whl"))


def wheel_prefix(requirement: str) -> str:
    """How the names of wheels of a requirement begin."""
    return requirement.split("==")[0].replace("-", "_") + "-"


def check_hash(wheel: Path, requirement: str, sha256: str) -> None:
    """Refuse any file but the one whose sources were compared with upstream."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != sha256:
        raise SystemExit(
            f"{wheel} has sha256 {digest} instead of {sha256}: it is damaged or not {requirement}. "
            "Delete it and run this script again."
        )


def repack_pure(wheel: Path, folder: Path) -> Path:
    """Write a copy of ``wheel`` to ``folder``, tagged py3-none-any.

    Compiled code, ``tools/`` and the limit on NumPy's version are left out.
    """
    from wheel.wheelfile import WheelFile  # writes RECORD, so that pip can verify and uninstall

    name, version = wheel.name.split("-")[:2]
    pure = folder / f"{name}-{version}-{PURE_TAG}.whl"
    with zipfile.ZipFile(wheel) as source, WheelFile(pure, "w") as target:
        for item in source.infolist():
            path = item.filename
            if path.startswith("tools/") or path.endswith((".so", ".dist-info/RECORD", "/")):
                continue
            data = source.read(item)
            if path.endswith(".dist-info/WHEEL"):
                lines = [x for x in data.decode().splitlines() if x and not x.startswith("Tag:")]
                lines = ["Root-Is-Purelib: true" if "Purelib" in x else x for x in lines]
                data = "\n".join([*lines, f"Tag: {PURE_TAG}", ""]).encode()
            elif path.endswith(".dist-info/METADATA"):
                data = re.sub(rb"(?m)^(Requires-Dist: numpy)(?![\w.-])[^;\r\n]*", rb"\1", data)
            target.writestr(item, data)
    return pure


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--wheel",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="use this wheel of sal-detectron2 or panopticapi-lite, do not download it",
    )
    parser.add_argument("--output", type=Path, help="only write the pure wheels to this folder")
    args = parser.parse_args(argv)
    prefixes = tuple(wheel_prefix(requirement) for requirement, _ in SOURCES.values())
    for wheel in args.wheel:
        if not wheel.is_file():
            raise SystemExit(f"--wheel {wheel} does not exist.")
        if not wheel.name.startswith(prefixes):
            raise SystemExit(
                f"--wheel {wheel} is neither {prefixes[0]}*.whl nor {prefixes[1]}*.whl."
            )
    wanted = {m: s for m, s in SOURCES.items() if args.output or not importlib.util.find_spec(m)}
    if not wanted:
        print("Detectron2 and panopticapi are already installed; nothing to do.")
        return

    with tempfile.TemporaryDirectory() as temporary:
        downloads, repacked = Path(temporary, "downloads"), Path(temporary, "repacked")
        downloads.mkdir()
        repacked.mkdir()
        pure = []
        for requirement, sha256 in wanted.values():
            given = [w for w in args.wheel if w.name.startswith(wheel_prefix(requirement))]
            wheel = given[-1] if given else download(requirement, downloads)
            check_hash(wheel, requirement, sha256)
            pure.append(repack_pure(wheel, repacked))
        if args.output is not None:
            args.output.mkdir(parents=True, exist_ok=True)
            for wheel in pure:
                print(f"Wrote {shutil.copy(wheel, args.output)}")
            return
        command = [sys.executable, "-m", "pip", "install", "--quiet", *map(str, pure)]
        subprocess.run(command, check=True)
    for module, (requirement, _) in wanted.items():
        print(f"Installed {module} from {requirement} as pure Python.")


if __name__ == "__main__":
    main()
