"""What is measured of a file is written into its metadata."""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
from PIL import Image

from efficientps_d2.deploy.whole.check import painted
from efficientps_d2_runtime import checksum

logger = logging.getLogger(__name__)


def note(file: Path, **values: str) -> None:
    """Add to the metadata of a file, and seal it again."""
    model = onnx.load(file)
    properties = {p.key: p.value for p in model.metadata_props}
    onnx.helper.set_model_props(model, properties | values | checksum.METADATA)
    file.write_bytes(checksum.seal(model.SerializeToString()))


def note_memory(file: Path) -> None:
    """Measure what memory an inference takes, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "street.png")
        Image.fromarray(next(painted())).save(image)
        command = [sys.executable, "-m", "efficientps_d2_runtime.effort", str(file), str(image)]
        done = subprocess.run(command, capture_output=True, text=True)
    if found := done.stdout.strip():
        note(file, memory=found)
        return
    reason = "this system does not tell it"
    if done.returncode:  # below 0 it is a signal
        lines = done.stderr.strip().splitlines() or ["it was killed, which may be for memory"]
        reason = lines[-1]
    logger.warning("The memory of an inference was not measured: %s.", reason.rstrip("."))
