"""The web page of a stub predictor, served by a thread for the tests of browsers and requests."""

import base64
import contextlib
import http.client
import io
import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from stub_predictor import StubPredictor

import efficientps_d2.web.server as web


@contextlib.contextmanager
def serving(
    uploads: Path, host: str = "127.0.0.1", **limits
) -> Iterator[tuple[str, StubPredictor]]:
    """The address of a page and the predictor behind it."""
    pytest.importorskip("gradio")
    predictor = StubPredictor()
    with pytest.MonkeyPatch.context() as patch, web.listen(host, 0) as listener:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "True")  # which the page overrules
        server = web.make_server(predictor, host, **limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield web.address(listener), predictor
        finally:
            server.should_exit = True
            thread.join()


def png(color: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((96, 160, 3), color, dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def until(condition, seconds: float = 60):
    """Wait for what a browser should soon show; returns it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)
    return value


def drawn(page) -> np.ndarray:
    """(H, W, 3) what the page shows of each pixel of an image, in its middle."""
    whole = canvas(page)
    caption = page.find_element("css selector", "#viewer figcaption").get_property("textContent")
    factor = whole.shape[1] // int(caption.split(",")[-1].split()[0])
    return whole[factor // 2 :: factor, factor // 2 :: factor]


def canvas(page) -> np.ndarray:
    """(H, W, 3) pixels of the canvas, on which small images are enlarged."""
    script = "return document.querySelector('#viewer canvas').toDataURL()"
    data = base64.b64decode(page.execute_script(script).split(",")[1])
    return np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


class Page:
    """A visitor without a browser."""

    def __init__(self, address: str):
        self.port = urlsplit(address).port
        self.session = secrets.token_hex(6)

    def request(self, path: str, body: bytes | None = None, method: str = "", **headers: str):
        """The answer, its content read; ``body`` makes it a POST."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("POST" if body else "GET"), path, body, headers)
        answer = connection.getresponse()
        answer.content = answer.read()
        connection.close()
        return answer

    def upload(self, name: str, content: bytes, **headers: str):
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--x--\r\n"
        kind = "multipart/form-data; boundary=x"
        return self.request("/gradio_api/upload", body, Content_Type=kind, **headers)

    def predict(self, path: Path | str, **more) -> dict:
        """What becomes of a request for the prediction of a file."""
        messages = self.messages(path, **more)
        return next(m for m in messages if m["msg"] == "process_completed")

    def messages(self, path: Path | str, **more) -> list[dict]:
        """What a visitor is told from a request to its end."""
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}, **more}
        body = json.dumps({"data": [file], "fn_index": 0, "session_hash": self.session}).encode()
        joined = self.request("/gradio_api/queue/join", body, Content_Type="application/json")
        assert joined.status == 200, joined.content
        events = self.request(f"/gradio_api/queue/data?session_hash={self.session}").content
        return [json.loads(x[5:]) for x in events.decode().split("\n\n") if x.strip()]
