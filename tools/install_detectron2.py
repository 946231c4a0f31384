"""Install Detectron2 from PyPI, without GitHub and without a compiler.

PyPI has no ``detectron2``; it has ``sal-detectron2`` 0.7.2, whose Python sources are upstream
commit a59f0563 (2024-04-17) plus one later fix. That wheel is tagged for CPython 3.10 because it
carries a compiled extension ``_C``, which nothing here needs, and it holds a stray top-level
package ``tools``. This script downloads it, checks its hash, repacks it as pure Python and installs
that.
"""

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "sal-detectron2==0.7.2"
SHA256 = "491af0c7f79bdb2d178e46f6cb16a97c4ac968d45c41ea3f6b6435d59bbee561"
PURE_TAG = "py3-none-any"


def download(folder: Path) -> Path:
    """Fetch the wheel into ``folder`` with pip; the tag cp310 is asked for on any Python."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    command += ["--only-binary=:all:", "--python-version", "3.10", REQUIREMENT]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise SystemExit(
            f"Could not download {REQUIREMENT}: {reason[0]} Check the network connection, or pass "
            "a wheel you already have with --wheel FILE."
        )
    return next(folder.glob("*.whl"))


def check_hash(wheel: Path) -> None:
    """Refuse any file but the one whose sources were compared with upstream."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(
            f"{wheel} has sha256 {digest} instead of {SHA256}: it is damaged or not {REQUIREMENT}. "
            "Delete it and run this script again."
        )


def repack_pure(wheel: Path, folder: Path) -> Path:
    """Write a copy of ``wheel`` without compiled code and ``tools/``, tagged py3-none-any."""
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
            target.writestr(item, data)
    return pure


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="use this sal-detectron2 wheel, do not download")
    parser.add_argument("--output", type=Path, help="only write the pure wheel to this folder")
    args = parser.parse_args(argv)
    if args.output is None and importlib.util.find_spec("detectron2"):
        print("Detectron2 is already installed; nothing to do.")
        return
    if args.wheel is not None and not args.wheel.is_file():
        raise SystemExit(f"--wheel {args.wheel} does not exist.")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = args.wheel or download(folder)
        check_hash(wheel)
        pure = repack_pure(wheel, folder)
        if args.output is not None:
            args.output.mkdir(parents=True, exist_ok=True)
            print(f"Wrote {shutil.copy(pure, args.output)}")
            return
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", str(pure)], check=True)
    print(f"Installed Detectron2 from {REQUIREMENT} as pure Python.")


if __name__ == "__main__":
    main()
