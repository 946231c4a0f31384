"""The page without a server: the browser predicts what Python predicts."""

import json
from pathlib import Path

import numpy as np
import pytest
from panopticapi.utils import rgb2id
from PIL import Image
from project import run_verb
from served_page import drawn, until
from small_network import CATEGORIES, write_small_network
from static_page import BY, give, opened, text

from efficientps_d2.web import static
from efficientps_d2_runtime import InputError, load
from efficientps_d2_runtime.drawing import segment_colors
from efficientps_d2_runtime.images import read_rgb


@pytest.fixture
def page(browser, address, folder):
    with opened(browser, address, folder) as page:
        yield page


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
    assert text(page, ".counts") == "1 car", "a road is no object"
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
    page.find_element(BY, "#viewer .opacity input").send_keys("\ue010")  # End: 100 %
    painted = np.round(segment_colors(expected.segments, CATEGORIES)[2])
    assert drawn(page)[5, 35].tolist() == painted.tolist() != CATEGORIES[1]["color"]
    page.find_element(BY, "#viewer label:has([value=instance])").click()
    (car,) = page.find_elements(BY, "#viewer tbody tr")
    (mask,) = expected.masks
    assert car.text.split()[2] == f"{mask.sum()}"
    changed = np.abs(drawn(page) - read_rgb(picture)).max(axis=2)
    assert ((changed > 40) == mask).all(), "enlarged pixels differ a little"
    page.find_element(BY, "#viewer label:has([value=semantic])").click()
    assert text(page, "table").splitlines() == ["class pixels %", "road 2,200 91.7", "car 200 8.3"]
    assert text(page, ".counts") == "", "areas are not counted"


def test_what_it_cannot_read_is_one_sentence(page, tmp_path, picture):
    (tmp_path / "x.png").write_bytes(b"no image")
    give(page, tmp_path / "x.png")
    until(lambda: text(page, ".problem"))
    expected = "x.png cannot be read as an image by this browser; give a PNG or JPEG."
    assert text(page, ".problem") == expected
    give(page, picture)
    until(lambda: text(page, "figcaption"))
    assert not page.find_element(BY, "#viewer .problem").is_displayed()


def test_a_large_image_is_made_smaller(browser, address, folder, picture):
    with opened(browser, address, folder, maxPixels=600) as page:
        give(page, picture)
        until(lambda: text(page, "figcaption"))
        assert text(page, "figcaption") == "street 1.png, 20 × 30"
        expected = "Reduced from 40 × 60 to 20 × 30 pixels, because a browser has little memory."
        assert text(page, ".note") == expected
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


def test_only_the_first_image_waits_for_the_model(page, picture):
    page.execute_script("""
        window.said = [];
        const place = document.querySelector("#progress span");
        const note = () => window.said.push(place.textContent);
        new MutationObserver(note).observe(place, { childList: true });
    """)
    give(page, picture)
    until(lambda: text(page, "figcaption"))
    assert page.execute_script("return window.said")[0] == "Loading the model"
    page.execute_script("window.said = []")
    give(page, picture)
    said = until(lambda: page.execute_script("return window.said"))
    until(lambda: text(page, "figcaption"))
    assert said[0] == "Predicting"
    assert not any("Loading" in each for each in page.execute_script("return window.said"))


def test_a_phone_has_a_line_for_each_segment(browser, address, folder, picture):
    names = ("background-stained", "nucleus-fluorescence")
    classes = [{**each, "name": name} for each, name in zip(CATEGORIES, names, strict=True)]
    phone = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        with opened(browser, address, folder, categories=classes) as page:
            give(page, picture)
            rows = until(lambda: page.find_elements(BY, "#viewer tbody tr"))
            assert len(rows) == 2 and all(row.size["height"] < 36 for row in rows)
            script = "return document.documentElement.scrollWidth <= window.innerWidth"
            assert page.execute_script(script), "it needs no scrolling sideways"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


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
    runtime = static.browser_runtime()
    static.write_static(network, folder / "page", runtime)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="photos holds something else, such as a.jpg; give a new"):
        static.write_static(network, tmp_path / "photos", runtime)
    assert (tmp_path / "photos" / "a.jpg").exists()
    kept = folder / "page" / "CNAME"  # as of a page that is published
    kept.touch()
    with pytest.raises(InputError, match="page holds something else, such as CNAME; give a new"):
        static.write_static(network, folder / "page", runtime)
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


def test_the_runtime_is_fetched_before_minutes_of_export(
    model_folder, tmp_path, monkeypatch, capsys
):
    done = []

    def write(_, path: Path) -> list:
        done.append(write_small_network(path))
        return []

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("efficientps_d2.deploy.whole.run.write_checked", write)
    arguments = ("web", "--model", model_folder, "--static", tmp_path / "page")
    with monkeypatch.context() as patch:
        patch.setattr(static, "REGISTRY", "http://127.0.0.1:9")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert run_verb(*arguments) == 1
    assert "give --onnxruntime-web the file" in capsys.readouterr().err and not done
    monkeypatch.setattr(static, "browser_runtime", lambda _: {})
    assert run_verb(*arguments) == 0
    output = capsys.readouterr()
    assert done and "temporary" not in output.out + output.err
    assert f"Wrote {tmp_path / 'page'}. Serve it" in output.out
