"""The page without a server: the browser predicts what Python predicts."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from file_server import serving_files
from panopticapi.utils import rgb2id
from PIL import Image
from project import run_verb
from served_page import drawn, until
from small_network import write_small_network

from efficientps_d2.web import static
from efficientps_d2_runtime import InputError, load
from efficientps_d2_runtime.images import read_rgb

BY = "css selector"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A written page; its runtime comes from npm, or from where a former test has put it."""
    folder = tmp_path_factory.mktemp("static")
    network = write_small_network(folder / "small.onnx")
    try:
        static.write_static(network, folder / "page")
    except InputError as error:
        message = f"needs onnxruntime-web: {error}"
        (pytest.fail if os.environ.get("BROWSER_REQUIRED") else pytest.skip)(message)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serving_files(folder / "page") as address:
        yield f"{address}/"


@contextlib.contextmanager
def opened(browser, address, folder, **change):
    """The page in the browser, with other values in its config."""
    config = folder / "page" / "config.json"
    before = config.read_text()
    config.write_text(json.dumps({**json.loads(before), **change}))
    try:
        browser.get(address)
        until(lambda: browser.find_element(BY, "#drop").is_displayed())
        yield browser
    finally:
        config.write_text(before)


@pytest.fixture
def page(browser, address, folder):
    with opened(browser, address, folder) as page:
        yield page


def give(page, file: Path) -> None:
    page.find_element(BY, "#drop input").send_keys(str(file))


def text(page, selector: str) -> str:
    return page.find_element(BY, f"#viewer {selector}").text


@pytest.fixture
def picture(tmp_path):
    """With a red corner, turned by its EXIF data."""
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[:10, :20] = (200, 3, 5)
    image[20:] = (100, 150, 250)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "street 1.png", exif=exif)
    return tmp_path / "street 1.png"


def test_it_says_what_python_says(page, folder, picture, tmp_path):
    expected = load(folder / "small.onnx")(picture)
    assert expected.panoptic_seg.shape == (60, 40)
    downloads = tmp_path / "downloads"
    where = {"behavior": "allow", "downloadPath": str(downloads)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    give(page, picture)
    until(lambda: text(page, "figcaption") == "street 1.png, 40 × 60")
    assert [row.text for row in page.find_elements(BY, "#viewer tbody tr")] == [
        "road 0.60 2,200 91.7",
        "car 0.75 200 8.3",
    ]
    assert text(page, ".counts") == "1 road, 1 car"
    for button in page.find_elements(BY, "#viewer button"):
        button.click()
    files = {kind: downloads / f"street 1.{kind}" for kind in ("png", "json", "csv")}
    until(lambda: all(file.exists() for file in files.values()))
    ids = rgb2id(np.array(Image.open(files["png"]).convert("RGB")))
    assert (ids == expected.panoptic_seg).all()
    (annotation,) = json.loads(files["json"].read_text())["annotations"]
    found = [(s["id"], s["category_id"], s["area"]) for s in annotation["segments_info"]]
    assert found == [(1, 7, 2200), (2, 26, 200)]
    assert files["csv"].read_text().splitlines()[2] == "2,car,1,0.75,200"
    page.find_element(BY, "#viewer label:has([value=instance])").click()
    (car,) = page.find_elements(BY, "#viewer tbody tr")
    (mask,) = expected.masks
    assert car.text.split()[2] == f"{mask.sum()}"
    page.find_element(BY, "#viewer .opacity input").send_keys("\ue010")  # End: 100 %
    changed = (drawn(page) != read_rgb(picture)).any(axis=2)
    around = np.pad(mask, ((1, 0), (1, 0)))  # edges are also on the right of it and below
    assert changed[mask].all()
    assert not changed[~(mask | around[1:, :-1] | around[:-1, 1:])].any()
    page.find_element(BY, "#viewer label:has([value=semantic])").click()
    assert text(page, "tbody tr td:nth-child(2)") == "", "the file gives no score of a class"


def test_what_it_cannot_read_is_one_sentence(page, tmp_path, picture):
    (tmp_path / "x.png").write_bytes(b"no image")
    give(page, tmp_path / "x.png")
    until(lambda: text(page, ".problem"))
    expected = "x.png cannot be read as an image by this browser; give a PNG or JPEG."
    assert text(page, ".problem") == expected
    give(page, picture)
    until(lambda: text(page, "figcaption"))
    assert not page.find_element(BY, "#viewer .problem").is_displayed()


@pytest.mark.parametrize(
    "change, told",
    [
        ({"model": "nowhere.onnx"}, "The model failed in this browser (nowhere.onnx cannot be"),
        ({"model": "site.css"}, "The model failed in this browser ("),
    ],
)
def test_what_fails_is_one_sentence(browser, address, folder, picture, change, told):
    with opened(browser, address, folder, **change) as page:
        give(page, picture)
        until(lambda: text(page, ".problem"))
        assert told in text(page, ".problem")


def test_a_large_image_is_made_smaller(browser, address, folder, picture):
    with opened(browser, address, folder, maxPixels=600) as page:
        give(page, picture)
        until(lambda: text(page, "figcaption"))
        assert text(page, "figcaption") == "street 1.png, made smaller, 20 × 30"
        assert [row.text for row in page.find_elements(BY, "#viewer tbody tr")] == [
            "road 0.60 550 91.7",
            "car 0.75 50 8.3",
        ]


def test_of_two_images_the_second_is_shown(page, picture, tmp_path):
    second = tmp_path / "second.png"
    second.write_bytes(picture.read_bytes())
    give(page, picture)
    give(page, second)
    until(lambda: text(page, "figcaption").startswith("second.png"))


def test_a_phone_needs_no_scrolling_sideways(page, picture):
    page.set_window_size(500, 800)  # Chromium has no smaller window
    try:
        give(page, picture)
        until(lambda: text(page, "figcaption"))
        script = "return document.documentElement.scrollWidth <= window.innerWidth"
        assert page.execute_script(script)
    finally:
        page.set_window_size(1280, 900)


def test_no_other_host_is_asked(page, address, folder, picture):
    assert {file.name for file in (folder / "page").iterdir()} == static.WRITTEN
    give(page, picture)
    until(lambda: text(page, "figcaption"))
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    asked = page.execute_script(script)
    assert f"{address}worker.js" in asked
    assert all(name.startswith((address, "blob:", "data:")) for name in asked), asked
    for name in static.OWN:  # also of the worker, whose requests the page does not see
        assert "://" not in (folder / "page" / name).read_text(), name


def test_a_page_is_replaced_but_nothing_else(folder, tmp_path):
    network = folder / "small.onnx"
    static.write_static(network, folder / "page")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="photos holds something else, such as a.jpg; give a new"):
        static.write_static(network, tmp_path / "photos")
    assert (tmp_path / "photos" / "a.jpg").exists()
    kept = folder / "page" / "CNAME"  # as of a page that is published
    kept.touch()
    with pytest.raises(InputError, match="page holds something else, such as CNAME; give a new"):
        static.write_static(network, folder / "page")
    kept.unlink()


def test_mistakes_are_one_sentence(tmp_path, monkeypatch, capsys):
    network = write_small_network(tmp_path / "small.onnx")
    (tmp_path / "wrong.tgz").write_bytes(b"no package")

    def sentence(*arguments) -> str:
        assert run_verb("web", "--static", tmp_path / "page", *arguments) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert not (tmp_path / "page").exists()
        return line

    package = ("--onnxruntime-web", tmp_path / "wrong.tgz")
    assert "wrong.tgz is not onnxruntime-web 1." in sentence("--model", network, *package)
    monkeypatch.setattr(static, "REGISTRY", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "efficientps_d2").mkdir(parents=True)
    cut = tmp_path / "cache" / "efficientps_d2" / f"onnxruntime-web-{static.VERSION}.tgz"
    cut.write_bytes(b"cut off")  # which is fetched again
    assert "give --onnxruntime-web the file that npm pack" in sentence("--model", network)
    assert "no.onnx is no file" in sentence("--model", tmp_path / "no.onnx")
