"""The report in a real browser: it sorts, filters and enlarges, and asks nobody for anything."""

import pytest
from reported_run import write_run
from scenes import write_dataset

from efficientps_d2.report.page import write_report

BY = "css selector"


@pytest.fixture
def page(tmp_path, register, tiny_config, browser):
    data = write_dataset(tmp_path / "data", count=8)
    cfg = tiny_config(register("toy", data))
    earlier = write_run(cfg, tmp_path / "earlier", seed=3)
    file = write_report(write_run(cfg, tmp_path / "run"), earlier, images=2)
    browser.get(file.as_uri())
    until(browser, "document.querySelector('#gallery .card')")  # a busy machine is slow
    yield browser
    assert browser.get_log("browser") == [], "errors in the console"


def until(page, script: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 60).until(lambda page: page.execute_script(f"return {script}"))


def cards(page, value: str) -> list[str]:
    """An attribute of the cards that are to be seen, from top to bottom."""
    found = page.find_elements(BY, "#gallery .card")
    return [card.get_attribute(f"data-{value}") for card in found if card.is_displayed()]


def choose(page, select: str, option: str) -> None:
    page.find_element(BY, f"#{select} option{option}").click()


def test_the_gallery_sorts_and_filters(page):
    worst_first = [float(pq) for pq in cards(page, "pq")]
    assert worst_first == sorted(worst_first) and len(worst_first) == 6
    choose(page, "order", "[value='pq:-1']")
    assert [float(pq) for pq in cards(page, "pq")] == sorted(worst_first, reverse=True)
    choose(page, "order", "[value='fn:-1']")
    missed = [int(n) for n in cards(page, "fn")]
    assert missed == sorted(missed, reverse=True) and missed[0] > 0
    choose(page, "order", "[value='name:1']")
    assert cards(page, "name") == sorted(cards(page, "name"))
    choose(page, "group", ":nth-child(2)")
    assert cards(page, "group") == ["worst", "worst"]


def test_the_table_of_classes_sorts(page):
    def column(index):
        return [cell.text for cell in page.find_elements(BY, f"#class-table td:nth-child({index})")]

    names, heading = column(1), page.find_elements(BY, "#class-table th")
    heading[1].click()
    rising = [float(text) for text in column(2)]
    assert rising == sorted(rising) and len(set(rising)) > 1
    heading[1].click()
    assert [float(text) for text in column(2)] == rising[::-1]
    assert heading[1].get_attribute("aria-sort") == "descending"
    heading[0].send_keys("\n")  # by keyboard
    assert column(1) == sorted(names)


def test_bars_and_changes_tell_the_numbers(page):
    for row in page.find_elements(BY, "#class-table tbody tr"):
        cells = row.find_elements(BY, "td")
        bar = cells[2].find_element(BY, ".bar")
        now, mark = bar.find_element(BY, "i"), bar.find_element(BY, "u")
        width, pq, change = bar.size["width"], float(cells[1].text), float(cells[3].text)
        assert now.size["width"] == pytest.approx(width * pq / 100, abs=2)
        before = (mark.location["x"] - bar.location["x"]) / width * 100
        assert pq - before == pytest.approx(change, abs=1)
        thing = cells[0].text in ("car", "person")
        assert ("thing" in now.get_attribute("class")) == thing
    for tile in page.find_elements(BY, ".tile span[class='better'], .tile span[class='worse']"):
        assert (float(tile.text) > 0) == (tile.get_attribute("class") == "better")


def test_images_are_seen_and_grow(page):
    page.set_window_size(1280, 900)  # another test makes it narrow
    until(page, "[...document.querySelectorAll('.card:first-child img')].every(i => i.complete)")
    images = page.find_elements(BY, ".card:first-child img")
    widths = [page.execute_script("return arguments[0].naturalWidth", i) for i in images]
    assert widths == [160] * 4, "images that the browser cannot read have no width"
    before = images[3].size["width"]
    images[0].click()
    assert images[3].size["width"] > 1.8 * before
    page.find_element(BY, ".card:first-child .panels").send_keys(" ")  # by keyboard
    assert images[3].size["width"] == before


@pytest.mark.parametrize("width", [1280, 420])
def test_nothing_is_cut_off_or_fetched(page, width):
    page.set_window_size(width, 900)
    text = page.find_element(BY, "#training + figure svg text")
    assert text.size["height"] >= 8, "a chart that cannot be read"
    overflow = "const e = document.documentElement; return e.scrollWidth - e.clientWidth"
    assert page.execute_script(overflow) <= 0
    fetched = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert [name for name in page.execute_script(fetched) if not name.startswith("data:")] == []
