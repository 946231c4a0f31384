"""The page as a folder of files for any file server: the visitor's browser predicts."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import tarfile
import urllib.request
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from tqdm import tqdm

from efficientps_d2.web.style import STYLE
from efficientps_d2_runtime.coco import DESCRIPTION
from efficientps_d2_runtime.colors import offsets
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.files import replacing_file, replacing_folder
from efficientps_d2_runtime.network import load

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
REGISTRY = "https://registry.npmjs.org"
OF_PACKAGE = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
OWN = (
    *("index.html", "site.css", "site.js", "problems.js"),
    *("worker.js", "layers.js", "colors.js"),
)
MEMORY = 3e9  # bytes that WebAssembly, which cannot have more than 4 GB, may use for an image
MOST_PIXELS = 16_000_000  # of an image; the page keeps several copies of it
OBJECTS = 1000  # of an image that have colours of their own; the colours of more repeat
MARK = "efficientps_d2 page"
WRITTEN = {*OWN, *OF_PACKAGE, "viewer.js", "config.json", "model.onnx"}


def write_static(network: Path, folder: Path, runtime: dict[str, bytes]) -> None:
    """Write the folder.

    Args:
        network: an ONNX file of :func:`write_whole`.
        folder: replaced if it is an earlier page.
        runtime: what :func:`browser_runtime` gives.

    Raises:
        InputError: if a file cannot be used, or the folder holds something else.
    """
    require_own(folder)
    loaded = load(network)
    if not loaded.most_pixels(MEMORY):
        raise InputError(
            f"This network needs more memory than the {MEMORY / 1e9:.0f} GB of a browser; give one "
            "with a smaller INPUT.MIN_SIZE_TEST or backbone."
        )
    content = network.read_bytes()
    config = {
        "mark": MARK,
        "model": "model.onnx",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "categories": loaded.categories,
        "offsets": (255 * offsets(OBJECTS)).round(4).tolist(),
        "style": STYLE,
        "minScore": loaded.score_threshold,
        "maxPixels": min(loaded.most_pixels(MEMORY), MOST_PIXELS),
        "description": DESCRIPTION,
    }
    with replacing_folder(folder) as new:
        (new / "model.onnx").write_bytes(content)
        (new / "config.json").write_text(json.dumps(config), encoding="utf-8")
        for name in OWN:
            (new / name).write_bytes(files(__package__).joinpath("static_page", name).read_bytes())
        (new / "viewer.js").write_text(_viewer(), encoding="utf-8")
        page, css = _asset("page.html"), _asset("page.css")
        index = (new / "index.html").read_text(encoding="utf-8")
        (new / "index.html").write_text(
            index.replace('<div id="viewer"></div>', f'<div id="viewer">\n{page}</div>'),
            encoding="utf-8",
        )
        with open(new / "site.css", "a", encoding="utf-8") as file:
            file.write(f"#viewer {{\n{css}}}\n")
        for name, content in runtime.items():
            (new / name).write_bytes(content)


def browser_runtime(package: Path | None = None) -> dict[str, bytes]:
    """The files of onnxruntime-web that a page needs, by name.

    Args:
        package: its .tgz; by default it is fetched from npm, once.

    Raises:
        InputError: if it is another file, or cannot be fetched.
    """
    content = package.read_bytes() if package else _fetched()
    if not _is_package(content):
        raise InputError(f"{package or REGISTRY} is not {PACKAGE} {VERSION}; fetch it again.")
    with tarfile.open(fileobj=BytesIO(content)) as archive:
        return {name: archive.extractfile(f"package/dist/{name}").read() for name in OF_PACKAGE}


def require_own(folder: Path) -> None:
    """Fail for a folder that is neither empty nor an earlier page."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    others = {file.name for file in folder.iterdir()} - WRITTEN if folder.is_dir() else {"a file"}
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["mark"] == MARK and not others:
            return
    also = f", such as {min(others)}" if others and folder.is_dir() else ""
    raise InputError(f"--static {folder} holds something else{also}; give a new folder.")


def _viewer() -> str:
    """page.js, which Gradio calls with three names, as a module."""
    return f"export function viewer(element, props, watch) {{\n{_asset('page.js')}}}\n"


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _fetched() -> bytes:
    """The package from npm, or as it was fetched before."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "efficientps_d2")
    file = cache / f"{PACKAGE}-{VERSION}.tgz"
    with contextlib.suppress(OSError):
        if _is_package(content := file.read_bytes()):  # not one that was cut off
            return content
    url = f"{REGISTRY}/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
    content = BytesIO()
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            size = int(answer.headers.get("content-length") or 0) or None
            with tqdm(total=size, desc=PACKAGE, unit="B", unit_scale=True) as bar:
                while part := answer.read(2**20):
                    content.write(part)
                    bar.update(len(part))
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{url} cannot be fetched ({one_line(error)}); give --onnxruntime-web the file that "
            f"npm pack {PACKAGE}@{VERSION} writes elsewhere."
        ) from error
    with contextlib.suppress(OSError, InputError):  # it is in the memory already
        cache.mkdir(parents=True, exist_ok=True)
        with replacing_file(file) as partial:
            partial.write_bytes(content.getvalue())
    return content.getvalue()


def _is_package(content: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == SHA512
