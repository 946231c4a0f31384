"""The web page of a stub predictor, served by a thread for the tests of browsers and requests."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from stub_predictor import StubPredictor

import efficientps_d2.web.server as web


@contextlib.contextmanager
def serving(uploads: Path, host: str = "127.0.0.1") -> Iterator[tuple[str, StubPredictor]]:
    """The address of a page and the predictor behind it."""
    pytest.importorskip("gradio")
    predictor = StubPredictor()
    with pytest.MonkeyPatch.context() as patch, web.listen(host, 0) as listener:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "True")  # which the page overrules
        server = web.make_server(predictor, host)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield web.address(listener), predictor
        finally:
            server.should_exit = True
            thread.join()
