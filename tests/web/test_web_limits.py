"""What the page refuses for its size, and whom it lets in."""

import base64
import io
import json
import threading

from PIL import Image
from served_page import Page, png, serving


def test_other_computers_need_the_password(tmp_path):
    with serving(tmp_path, "0.0.0.0", password="päss:wörd") as (address, _):
        page = Page(address)

        def login(user_and_password: str, scheme: str = "Basic") -> int:
            value = base64.b64encode(user_and_password.encode()).decode()
            return page.request("/", Authorization=f"{scheme} {value}").status

        refused = page.request("/")
        assert refused.status == 401 and refused.headers["WWW-Authenticate"].startswith("Basic ")
        assert page.upload("a.png", png(1)).status == 401
        assert not list(tmp_path.rglob("*.png"))
        assert login("me:päss:wörd") == login(":päss:wörd") == login("x:päss:wörd", "basic") == 200
        wrong = ("me:", "me", "päss:wörd", "me:päss:wör", "me:päss:wörd2", "")
        assert {login(words) for words in wrong} == {401}
        assert login("me:päss:wörd", "Bearer") == 401
        assert page.request("/", Authorization="Basic %%%").status == 401


def test_uploads_have_a_limit(page, uploads):
    """Refused by their announced length, before anything is read."""
    before = set(uploads.rglob("*"))
    kind = "multipart/form-data; boundary=x"
    answer = page.request(
        "/gradio_api/upload", b"--x", Content_Type=kind, Content_Length="300000000"
    )
    assert answer.status == 413 and b"takes up to 50 MB" in answer.content
    answer = page.request("/gradio_api/upload", iter([b"--x"]), Content_Type=kind)
    assert answer.status == 411, "of unknown length"
    both = {"Content_Length": "10", "Transfer_Encoding": "chunked"}
    assert page.request("/gradio_api/upload", b"--x", Content_Type=kind, **both).status == 411
    assert set(uploads.rglob("*")) == before


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path):
    content = io.BytesIO()
    Image.new("L", (3000, 3000)).save(content, "PNG")
    assert len(content.getvalue()) < 20_000
    with serving(tmp_path, megapixels=8) as (address, predictor):
        page = Page(address)
        assert b"up to 50 MB and 8 megapixels" in page.request("/").content, "as the page says"
        path, small = (
            json.loads(page.upload("a.png", data).content)[0]
            for data in (content.getvalue(), png(1))
        )
        result = page.predict(path)["output"]["data"][1]["problem"]
        assert "a.png has 3000 x 3000 pixels; this page takes up to 8 megapixels" in result
        assert not predictor.images
        assert page.predict(small)["output"]["data"][1]["name"] == "a.png"


def test_who_waits_is_told_the_place_in_the_queue(served, page, monkeypatch):
    predictor, other = served[1], Page(served[0])
    begun, go_on = threading.Event(), threading.Event()
    predict = type(predictor).__call__

    def slow(*args, **kwargs):
        begun.set()
        go_on.wait(60)
        return predict(*args, **kwargs)

    monkeypatch.setattr(type(predictor), "__call__", slow)
    files = [json.loads(p.upload("a.png", png(1)).content)[0] for p in (page, other)]
    first = threading.Thread(target=page.predict, args=(files[0],))
    first.start()
    assert begun.wait(60)
    threading.Timer(1, go_on.set).start()
    messages = other.messages(files[1])
    first.join()
    places = [m["rank"] for m in messages if m["msg"] == "estimation"]
    assert places[0] == 0 and messages[-1]["msg"] in ("process_completed", "close_stream")
