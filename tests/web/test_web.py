"""The web page in a real browser: what it shows is what the model says, and nothing breaks it."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served_page import canvas, drawn, until
from stub_predictor import StubPredictor, predict

from efficientps_d2.data.coco_panoptic import categories_of
from efficientps_d2_runtime.coco import PanopticWriter
from efficientps_d2_runtime.drawing import EDGE, segment_colors
from efficientps_d2_runtime.images import read_rgb

BY = "css selector"
SIZE = (96, 160)
FACTOR = 6  # to which so small an image is enlarged


@pytest.fixture
def page(browser, served):
    browser.set_window_size(1280, 900)
    browser.get(served[0])
    until(lambda: browser.find_elements(BY, "input[type=file]"))
    yield browser
    complaints = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    browser.get("about:blank")  # Gradio's client complains of streams that end when a page is left
    browser.get_log("browser")
    assert complaints == [], "errors in the console, also of what the page was not allowed to fetch"


@pytest.fixture
def picture(tmp_path) -> Path:
    """Of smooth colours, which JPEG keeps."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    file = tmp_path / "street 1.png"
    Image.fromarray(np.stack([x, y, 200 - x], axis=2).astype(np.uint8)).save(file)
    return file


def text(page, selector: str) -> str:
    return page.find_element(BY, f"#viewer {selector}").get_property("textContent")


def show(page, file: Path) -> None:
    page.find_element(BY, "input[type=file]").send_keys(str(file))
    until(lambda: text(page, "figcaption").startswith(f"{file.name},"))
    until(lambda: page.find_element(BY, "#viewer canvas").is_displayed())


def choose(page, layer: str) -> None:
    page.find_element(BY, f"#viewer label:has([value={layer}])").click()


def table(page) -> list[list[str]]:
    rows = page.find_elements(BY, "#viewer tbody tr")
    return [[cell.text for cell in row.find_elements(BY, "td")] for row in rows]


def hover(page, x: int, y: int) -> str:
    """What the page says of a pixel, or nothing."""
    from selenium.webdriver import ActionChains

    canvas = page.find_element(BY, "#viewer canvas")
    # Offsets are from the middle of what is in view.
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width, height = canvas.size["width"], canvas.size["height"]
    across = ((x + 0.5) / SIZE[1] - 0.5) * width
    down = ((y + 0.5) / SIZE[0] - 0.5) * height
    ActionChains(page).move_to_element_with_offset(canvas, round(across), round(down)).perform()
    return text(page, ".tip") if page.find_element(BY, "#viewer .tip").is_displayed() else ""


def test_layers(page, served, picture):
    show(page, picture)
    predictor = served[1]
    assert np.abs(predictor.images[-1].astype(int) - np.array(Image.open(picture))).max() == 0
    calls = len(predictor.images)
    page.find_element(BY, "#viewer .opacity input").send_keys("\ue010")  # End: 100 %
    prediction, classes = predict(SIZE, predictor.metadata), categories_of(predictor.metadata)
    colors = segment_colors(prediction.segments, classes)
    colors = {s.name: [round(value) for value in colors[s.id]] for s in prediction.segments}
    assert text(page, ".counts") == "1 car", "areas are not counted"
    assert table(page) == [
        ["sky", "0.62", "6,880", "44.8"],
        ["road", "0.81", "6,720", "43.8"],
        ["car", "0.95", "800", "5.2"],
    ]
    assert drawn(page)[42, 22].tolist() == colors["car"]
    assert drawn(page)[5, 5].tolist() == colors["sky"] != colors["car"]
    choose(page, "instance")
    assert [row[:3] for row in table(page)] == [["car", "0.95", "800"], ["person", "0.71", "300"]]
    car, person = drawn(page)[42, 22].tolist(), drawn(page)[50, 55].tolist()
    assert car != person and drawn(page)[50, 75].tolist() == person, "the smaller lies on top"
    choose(page, "semantic")
    probability = np.exp(2) / (np.exp(2) + 3)
    assert [row[:3] for row in table(page)] == [
        ["sky", f"{probability:.2f}", "7,360"],
        ["road", f"{probability:.2f}", "7,200"],
        ["car", f"{probability:.2f}", "800"],
    ]
    assert drawn(page)[5, 155].tolist() == colors["sky"], "void of the panoptic layer has a class"
    assert len(predictor.images) == calls, "the model ran once"


def test_opacity(page, picture):
    show(page, picture)
    original = np.array(Image.open(picture)).astype(int)
    slider = page.find_element(BY, "#viewer .opacity input")
    slider.send_keys("\ue010")
    full = drawn(page)
    outline = canvas(page)[40 * FACTOR : 60 * FACTOR, 20 * FACTOR - 1]
    assert (outline == EDGE).all() and (full[40:60, 19:21] != EDGE).any(axis=2).all(), "thin"
    slider.send_keys("\ue011")  # Home: 0 %
    assert text(page, ".opacity output") == "0 %"
    bare = drawn(page)
    assert np.abs(bare - original).max() < 12, "the image itself"
    void = {tuple(color) for color in full[:, 153:].reshape(-1, 3).tolist()}
    assert void == {(60,) * 3, (130,) * 3}, "void is hatched"
    assert text(page, ".void") == "Hatched: no segment, 6.3 %"
    slider.send_keys("\ue010" + "\ue012" * 50)  # End, then to the left
    assert text(page, ".opacity output") == "50 %"
    assert np.abs(drawn(page) - (bare + full) / 2).max() <= 2
    choose(page, "instance")
    assert text(page, ".opacity output") == "50 %"
    assert np.abs(drawn(page) - original)[:, 152:].max() < 12, "no instance: the image"
    assert not page.find_element(BY, "#viewer .void").is_displayed()


def test_hovering(page, picture):
    show(page, picture)
    even = drawn(page)
    assert hover(page, 30, 50) == "car, score 0.95, 800 pixels"
    assert text(page, "tr.active td").strip() == "car"
    assert (drawn(page)[50, 30] == even[50, 30]).all() and (drawn(page)[5, 5] != even[5, 5]).any()
    assert hover(page, 80, 2) == "sky, score 0.62, 6,880 pixels", "at the upper border"
    assert hover(page, 20, 40) == "car, score 0.95, 800 pixels", "the first pixel of the car"
    assert hover(page, 19, 39).startswith("sky")
    assert hover(page, 149, 70).startswith("road") and hover(page, 150, 70) == "", "void"
    assert (drawn(page) == even).all()
    choose(page, "instance")
    assert hover(page, 55, 50) == "person, score 0.71, 300 pixels" and hover(page, 5, 5) == ""


def test_what_a_finger_touched_stays(page, picture):
    """It leaves when it is lifted."""
    show(page, picture)
    assert hover(page, 30, 50)
    canvas, tip = (page.find_element(BY, f"#viewer {name}") for name in ("canvas", ".tip"))
    leave = "arguments[0].dispatchEvent(new PointerEvent('pointerleave', {pointerType: '%s'}))"
    page.execute_script(leave % "touch", canvas)
    assert tip.is_displayed()
    page.execute_script(leave % "mouse", canvas)
    assert not tip.is_displayed()


def test_downloads(page, served, picture, tmp_path):
    downloads, expected = tmp_path / "downloads", tmp_path / "expected"
    where = {"behavior": "allow", "downloadPath": str(downloads)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    show(page, picture)
    for button in page.find_elements(BY, "#viewer button"):
        button.click()
    metadata = served[1].metadata
    with PanopticWriter(expected, categories_of(metadata)) as writer:
        writer.add(picture, predict(SIZE, metadata))
    png, text = downloads / "street 1.png", downloads / "street 1.json"
    until(lambda: png.exists() and text.exists())
    assert png.read_bytes() == (expected / "panoptic" / png.name).read_bytes()
    assert json.loads(text.read_text()) == json.loads((expected / "panoptic.json").read_text())


def test_a_damaged_file_is_named_and_the_next_one_works(page, picture, tmp_path):
    show(page, picture)
    damaged = tmp_path / "cut <b>.png"
    damaged.write_bytes(picture.read_bytes()[:150])
    page.find_element(BY, "input[type=file]").send_keys(str(damaged))
    until(lambda: text(page, ".problem"))
    problem = text(page, ".problem")
    assert problem.startswith("cut b.png cannot be read as an image (") and "/" not in problem
    assert problem.endswith("; give another image.") and "\n" not in problem
    assert not page.find_element(BY, "#viewer canvas").is_displayed()
    again = picture.rename(tmp_path / "again.png")
    show(page, again)
    assert not page.find_element(BY, "#viewer .problem").is_displayed()


def test_a_image_dropped_during_a_prediction(page, served, picture, tmp_path, monkeypatch):
    done, predict = threading.Event(), StubPredictor.__call__

    def slow(*args, **kwargs):
        done.wait()
        return predict(*args, **kwargs)

    monkeypatch.setattr(StubPredictor, "__call__", slow)
    second = tmp_path / "second.png"
    second.write_bytes(picture.read_bytes())
    count = len(served[1].images)
    page.find_element(BY, "input[type=file]").send_keys(str(picture))
    until(lambda: page.find_elements(BY, "#image [aria-label='Clear']"))[0].click()
    until(lambda: page.find_elements(BY, "input[type=file]"))[0].send_keys(str(second))
    until(lambda: page.find_elements(BY, "#image [aria-label='Clear']"))
    done.set()
    until(lambda: text(page, "figcaption").startswith("second.png,"))
    assert len(served[1].images) == count + 2


def test_unusual_images(page, served, tmp_path):
    image = Image.fromarray(np.full((*SIZE, 3), (200, 90, 30), dtype=np.uint8))
    turned = image.getexif()
    turned[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=turned)
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    image.resize((1, 1)).save(tmp_path / "dot.png")
    image.save(tmp_path / "no suffix", format="TIFF")
    Image.fromarray(np.full(SIZE, 128 << 8, dtype=np.uint16)).save(tmp_path / "deep.png")
    for file in sorted(tmp_path.iterdir()):
        show(page, file)
        height, width = read_rgb(file).shape[:2]
        assert text(page, "figcaption") == f"{file.name}, {width} × {height}"
        assert (served[1].images[-1] == read_rgb(file)).all()
        page.find_element(BY, "#viewer .opacity input").send_keys("\ue011")
        assert np.abs(drawn(page) - read_rgb(file).astype(int)).max() < 12


@pytest.mark.parametrize("width", [1280, 420])
def test_nothing_is_cut_off_or_fetched_elsewhere(page, served, picture, width):
    page.set_window_size(width, 900)
    show(page, picture)
    overflow = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    assert page.execute_script(overflow) <= 0
    assert hover(page, 148, 50).startswith("road"), "at the right border"
    assert page.execute_script(overflow) <= 0
    fetched = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    here = (served[0], "data:", "blob:")
    assert [name for name in page.execute_script(fetched) if not name.startswith(here)] == []
