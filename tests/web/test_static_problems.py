"""What can be wrong with a page without a server is told in one sentence."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from served_page import until
from small_network import CATEGORIES, NETWORK
from static_page import BY, give, opened, text

from efficientps_d2_runtime import checksum

AGAIN = "ask the owner of this page to upload its whole folder again."


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 200, dtype=np.uint8)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def problem(browser, address, folder, picture=None, **change) -> str:
    """What the page says at once or, if it is given, of a picture."""
    with opened(browser, address, folder, **change) as page:
        if picture:
            give(page, picture)
        until(lambda: text(page, ".problem") or text(page, "figcaption"))
        assert page.find_element(BY, "#drop").is_displayed() == bool(picture)
        return text(page, ".problem")


def as_model(file: Path) -> dict:
    """Values of the config."""
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return {"model": file.name, "bytes": len(content), "sha256": sha256}


@contextlib.contextmanager
def scripted(browser, script: str):
    """Before those of the page."""
    script = {"source": script}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_a_model_that_did_not_arrive_as_it_was_written(browser, address, folder, picture):
    size = (folder / "page" / "model.onnx").stat().st_size
    told = problem(browser, address, folder, picture, bytes=size + 1)
    assert told == (f"model.onnx arrived incomplete ({size} of {size + 1} bytes); reload the page.")
    told = problem(browser, address, folder, picture, sha256="0" * 64)
    assert told == (
        "model.onnx is not the file that this page was written with; reload the page, or " + AGAIN
    )


def test_where_no_digest_can_be_computed_the_model_is_taken(browser, address, folder, picture):
    """As by http from another computer."""
    worker = folder / "page" / "worker.js"
    before = worker.read_text()
    none = 'Object.defineProperty(crypto, "subtle", { value: undefined });\n'
    worker.write_text(none + before)
    try:
        assert problem(browser, address, folder, picture, sha256="0" * 64) == ""
    finally:
        worker.write_text(before)


def test_a_model_that_cannot_be_used(browser, address, folder, picture):
    told = problem(browser, address, folder, picture, model="nowhere.onnx")
    assert told == f"nowhere.onnx cannot be fetched (404); {AGAIN}"
    change = as_model(folder / "page" / "site.css")
    told = problem(browser, address, folder, picture, **change)
    assert told.startswith("The model failed in this browser (")
    assert told.endswith("); reload the page, or use a newer browser.")


def test_too_little_memory(browser, address, folder, picture):
    """A map of 6 GB, where WebAssembly can have 4."""
    large = NETWORK.replace(
        "pixels = Size(sem_seg)",
        """pixels = Size(sem_seg)
        side = Constant<value = int64 {5000}>()
        eight = Shape(sem_seg)
        sides = Mul(eight, side)
        ones = ConstantOfShape(sides)
        some = ReduceMax<keepdims = 0>(ones)
        none = Cast<to = 7>(some)""",
    ).replace("Sub(pixels, car_area)", "Sub(pixels, none)")
    file = folder / "page" / "large.onnx"
    file.write_bytes(checksum.seal(onnx.parser.parse_model(large).SerializeToString()))
    try:
        told = problem(browser, address, folder, picture, **as_model(file))
    finally:
        file.unlink()
    assert told == (
        "This browser has too little memory for an image of this size; give a smaller one."
    )


@pytest.mark.parametrize(
    "change, told",
    [
        ({"categories": None}, f'config.json has no "categories"; {AGAIN}'),
        ({"sha256": None}, f'config.json has no "sha256"; {AGAIN}'),
        (
            {"categories": [*CATEGORIES, {"id": 3, "color": [1, 2, 3]}]},
            f'config.json has no name or colour of a class in "categories"; {AGAIN}',
        ),
        (
            {"categories": [{}, 7]},
            f'config.json has no name or colour of a class in "categories"; {AGAIN}',
        ),
        (
            {"categories": "abc"},
            f'config.json has no name or colour of a class in "categories"; {AGAIN}',
        ),
    ],
)
def test_a_config_that_lacks_something(browser, address, folder, change, told):
    assert problem(browser, address, folder, **change) == told


def test_a_config_that_is_missing(browser, address, folder):
    config = folder / "page" / "config.json"
    with opened(browser, address, folder):
        before = config.rename(folder / "config.json")
        try:
            browser.get(address)
            until(lambda: text(browser, ".problem"))
            assert text(browser, ".problem") == f"config.json cannot be read (404); {AGAIN}"
        finally:
            before.rename(config)
            browser.get_log("browser")  # which other tests look at


@pytest.mark.parametrize("name", ["ort-wasm-simd-threaded.wasm", "layers.js"])
def test_a_file_that_is_missing(browser, address, folder, picture, name):
    file = folder / "page" / name
    moved = file.rename(folder / name)
    try:
        assert (
            problem(browser, address, folder, picture) == f"A file of this page is missing; {AGAIN}"
        )
    finally:
        moved.rename(file)
        browser.get_log("browser")  # which other tests look at


def test_a_result_that_cannot_be_shown(browser, address, folder, picture):
    with scripted(browser, "Image.prototype.decode = () => Promise.reject(Error('too large'))"):
        told = problem(browser, address, folder, picture)
    assert told == "This browser cannot show the result (too large); give a smaller image."


@pytest.mark.parametrize(
    "error, told",
    [
        (
            "Error('The ImageBitmap could not be allocated.')",
            "This browser has too little memory for {}; give a smaller image.",
        ),
        ("RangeError('x')", "This browser has too little memory for {}; give a smaller image."),
        (
            "Error('Out of memory')",
            "This browser has too little memory for {}; give a smaller image.",
        ),
        ("Error('x')", "{} cannot be read as an image by this browser; give a PNG or JPEG."),
    ],
)
def test_an_image_that_cannot_be_decoded(browser, address, folder, picture, error, told):
    with scripted(browser, f"createImageBitmap = () => Promise.reject({error})"):
        assert problem(browser, address, folder, picture) == told.format(picture.name)


@pytest.mark.parametrize(
    "message",
    [
        "WebAssembly.Memory(): could not allocate memory",
        "no available backend found. ERR: [wasm] RangeError: Out of memory",
        "BFCArena::AllocateRawInternal Available memory of 5 is smaller than requested bytes of 9",
        "Array length must be a positive integer of safe magnitude",
        "memory access out of bounds",
    ],
)
def test_what_browsers_say_of_too_little_memory(browser, address, message):
    browser.get(address)
    script = """const [message, done] = arguments;
    import("./problems.js").then(({ problemOfModel, problemOfImage }) => done([
      problemOfModel({ message, stage: "loading" }), problemOfImage("x.png", { message })]))"""
    of_model, of_image = browser.execute_async_script(script, message)
    assert of_model.startswith("This browser has too little memory for the model; close other")
    assert of_image == "This browser has too little memory for x.png; give a smaller image."


def test_a_browser_that_is_too_old(browser, address, folder):
    with scripted(browser, "WebAssembly.validate = () => false"):
        told = problem(browser, address, folder)
    assert told == "This browser has no WebAssembly with SIMD; use a newer one."
