"""The one ONNX file of a network: whether it is one, and what it says of itself."""

import contextlib
import json
import unicodedata
from pathlib import Path

import numpy as np
import onnxruntime

from efficientps_d2_runtime import checksum
from efficientps_d2_runtime.errors import InputError, one_line, sentence_of
from efficientps_d2_runtime.images import IMAGE_SUFFIXES
from efficientps_d2_runtime.memory import Need

FORMAT, VERSION = "efficientps_d2 whole network", 1
# Each with the kind of its numbers, as NumPy calls it, and its dimensions.
OUTPUTS = {
    "panoptic_seg": ("i", 2),
    "segment_classes": ("i", 1),
    "segment_isthing": ("b", 1),
    "segment_scores": ("f", 1),
    "segment_areas": ("i", 1),
    "boxes": ("f", 2),
    "scores": ("f", 1),
    "classes": ("i", 1),
    "mask_logits": ("f", 3),
    "sem_seg": ("u", 2),
}
EXPORT = "efficientps-d2 export --format onnx"
SAVED = (".safetensors", ".pth", ".yaml", ".json")  # suffixes of files beside a config
MOST_BYTES = 2**31
MOST_SIDE = 2**20  # pixels
SHOWN = 300  # characters of an error of ONNX Runtime
# Of a pixel, where nobody has measured them: those of EfficientNet-B5, and of the fusion.
BYTES, BYTES_OF_CLASS = 700, 18


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Read the file.

    Raises:
        InputError: if it is not whole, or no network.
    """
    if threads < 0:
        raise InputError(f"threads is {threads}; give 1 or more, or 0 for one of each core.")
    saved = path if path.is_dir() else path.parent
    if (saved / "config.yaml").is_file() and (path.is_dir() or path.suffix in SAVED):
        raise InputError(f"{path} is a saved model; write its file by {EXPORT} --model {saved}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file of a network first.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path} is an image; name the file of a network before the images.")
    if not path.is_file():
        raise InputError(f"{path} is no file; give one that {EXPORT} has written.")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is larger than an ONNX file can be; give another.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(sentence_of(error)) from error
    if not checksum.is_sealed(content):
        raise InputError(
            f"{path} is incomplete or of another program; get it again, or write one by {EXPORT}."
        )
    if not checksum.is_whole(content):
        raise InputError(f"{path} is damaged: its checksum does not fit; get it again.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # its errors are raised, too
    try:
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(content, options, providers, enable_fallback=0)
    except Exception as error:  # of many kinds, with no base of their own
        raise InputError(
            f"{path} cannot be read by ONNX Runtime {onnxruntime.__version__} "
            f"({one_line(error)[:SHOWN]}); write it again by {EXPORT}."
        ) from error


def options_of_run() -> onnxruntime.RunOptions:
    """Give the memory of a prediction back, so that the next one finds it free."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def read_metadata(path: str | Path, session: onnxruntime.InferenceSession) -> tuple[dict, set]:
    """Metadata, and names of outputs.

    Raises:
        InputError: if they are no text.
    """
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        return metadata, {output.name for output in session.get_outputs()}
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged; write it again by {EXPORT}.") from error


def categories_of(path: str | Path, metadata: dict[str, str]) -> list[dict]:
    """The classes of a file.

    Raises:
        InputError: if it is of another program, of a later format, or has no classes.
    """
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is of another program; give a file that {EXPORT} has written.")
    version = metadata.get("version", "")
    if version != str(VERSION):
        raise InputError(
            f'{path} has version "{version}" of the format, and version {VERSION} is read here; '
            f"update efficientps-d2-runtime, or write the file again by {EXPORT}."
        )
    try:
        categories = json.loads(metadata["categories"])
        for category in categories:
            red, green, blue = category["color"]
            good = category["name"] and _is_line(category["name"]) and "id" in category
            good = good and category["isthing"] in (0, 1)
            if not (good and all(0 <= x <= 255 for x in (red, green, blue))):
                raise ValueError(category)
        if not categories:
            raise ValueError("none")
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} does not say what its classes are; write it again by {EXPORT}."
        ) from error
    return categories


def _is_line(text: str) -> bool:
    """Whether a text has no control characters, with which a name could change a terminal."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def is_sound(found: dict[str, np.ndarray], size: tuple[int, int], classes: int) -> bool:
    """Whether outputs have the types, shapes and values that those of a network have."""
    for name, kind in OUTPUTS.items():
        x = found[name]
        if not isinstance(x, np.ndarray) or (x.dtype.kind, x.ndim) != kind:
            return False
    kinds, boxes = found["segment_classes"], found["boxes"]
    segments = {len(x) for name, x in found.items() if name.startswith("segment_")}
    instances = {len(found[name]) for name in ("boxes", "scores", "classes", "mask_logits")}
    numbers = (kinds, found["classes"], found["sem_seg"])
    return (
        found["panoptic_seg"].shape == found["sem_seg"].shape == size
        and len(segments) == len(instances) == 1
        and all(((x >= 0) & (x < classes)).all() for x in numbers)
        and 0 <= found["panoptic_seg"].min() <= found["panoptic_seg"].max() <= len(kinds)
        and boxes.shape[1] == 4
        and ((np.abs(boxes) < MOST_SIDE).all() and (boxes[:, :2] < boxes[:, 2:]).all())
        and all(np.isfinite(found[name]).all() for name in ("scores", "segment_scores"))
    )


def resize_of(path: str | Path, metadata: dict[str, str]) -> tuple[int, int]:
    """The shorter and the longer side to which it resizes an image, in pixels; 0 for none."""
    shortest, longest = _numbers(path, metadata, "resize", 2)
    if shortest and not longest:
        raise _silent(path, "resize")
    return shortest, longest


def divisor_of(path: str | Path, metadata: dict[str, str]) -> int:
    """Of the sides of what the network computes on, in pixels."""
    (divisor,) = _numbers(path, metadata, "size_divisibility", 1)
    return max(divisor, 1)


def threshold_of(path: str | Path, metadata: dict[str, str]) -> float:
    """The score of instances from which the fusion takes them, if nobody gives another."""
    (threshold,) = _numbers(path, metadata, "score_threshold", 1, float, 1)
    return threshold


def need_of(metadata: dict[str, str], classes: int) -> Need:
    """What was measured when the file was written, or a guess."""
    with contextlib.suppress(InputError):
        return Need(*_numbers("", metadata, "memory", 3, float, MOST_BYTES**2))
    return Need(0, BYTES, BYTES_OF_CLASS * classes)


def _numbers(
    path: str | Path,
    metadata: dict[str, str],
    key: str,
    count: int,
    kind: type = int,
    most: float = MOST_SIDE,
):
    """Numbers from 0 to ``most``.

    Raises:
        InputError: if there are not so many.
    """
    try:
        numbers = [kind(word) for word in metadata[key].split()]
    except (LookupError, ValueError) as error:
        raise _silent(path, key) from error
    if len(numbers) != count or not all(0 <= x <= most for x in numbers):
        raise _silent(path, key)
    return numbers


def _silent(path: str | Path, key: str) -> InputError:
    return InputError(f'{path} has no good "{key}"; write it again by {EXPORT}.')
