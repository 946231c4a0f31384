"""The page without a server, for the tests of browsers."""

import contextlib
import json
from pathlib import Path

from served_page import until

BY = "css selector"


@contextlib.contextmanager
def opened(browser, address, folder, **change):
    """The page in the browser, with other values in its config; None leaves one out."""
    config = folder / "page" / "config.json"
    before = config.read_text()
    values = {**json.loads(before), **change}
    config.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    try:
        # The files of a slow run are old enough for the browser to keep them for seconds.
        browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        browser.get(address)
        until(lambda: not browser.find_element(BY, "#asleep").is_displayed())
        yield browser
    finally:
        config.write_text(before)


def give(page, file: Path) -> None:
    page.find_element(BY, "#drop input").send_keys(str(file))


def text(page, selector: str) -> str:
    return page.find_element(BY, f"#viewer {selector}").text
