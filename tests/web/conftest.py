"""A page that is served, a visitor without a browser, and a page without a server."""

import os

import pytest
from file_server import serving_files
from served_page import Page, serving
from small_network import write_small_network

from efficientps_d2.web import static
from efficientps_d2_runtime import InputError


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def served(uploads):
    """The address of a page and the predictor behind it."""
    with serving(uploads) as served:
        yield served


@pytest.fixture
def page(served):
    return Page(served[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A written page; its runtime comes from npm, or from where a former test has put it."""
    folder = tmp_path_factory.mktemp("static")
    network = write_small_network(folder / "small.onnx")
    try:
        static.write_static(network, folder / "page", static.browser_runtime())
    except InputError as error:
        message = f"needs onnxruntime-web: {error}"
        (pytest.fail if os.environ.get("BROWSER_REQUIRED") else pytest.skip)(message)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serving_files(folder / "page") as address:
        yield f"{address}/"
