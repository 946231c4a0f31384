"""A page that is served, and a visitor without a browser."""

import pytest
from served_page import Page, serving


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
