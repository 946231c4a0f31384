"""What the page's server answers, and to whom: no file that was not dropped on the page."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from served_page import Page, png, serving

EVIL = "evil.example"


@pytest.fixture
def private(tmp_path) -> Path:
    """An image that nobody dropped on the page."""
    file = tmp_path / "private.png"
    file.write_bytes(png(7))
    return file


def test_two_visitors_and_their_images(served, page, uploads):
    other = Page(served[0])
    paths = [json.loads(p.upload("a.png", png(c)).content)[0] for p, c in ((page, 1), (other, 2))]
    for visitor, path, color in ((other, paths[1], 2), (page, paths[0], 1)):
        result = visitor.predict(path)
        assert result["success"], result
        assert result["output"]["data"][1]["name"] == "a.png"
        assert (served[1].images[-1] == color).all()
        assert Path(path).is_relative_to(uploads)


def test_names_of_uploads_stay_in_their_folder(page, uploads):
    for name in (
        "../../escaped.png",
        "/etc/escaped.png",
        "a/../../escaped.png",
        "..\\\\escaped.png",
    ):
        [path] = json.loads(page.upload(name, png(3)).content)
        assert Path(path).resolve().parent.parent == uploads, name
    assert page.upload("..", png(3)).status == 400


def disguised(private: Path, uploads: Path) -> tuple[Path | str, ...]:
    """Ways to name an image that was not uploaded."""
    link = uploads / "link.png"
    link.unlink(missing_ok=True)
    link.symlink_to(private)
    around = uploads / "x" / ".." / ".." / private.relative_to(uploads.parent)
    return private, around, link, "private.png", "http://127.0.0.1:9/a.png", "/etc/passwd", "", "\0"


def test_any_other_file_is_refused(served, page, private, uploads, monkeypatch):
    monkeypatch.chdir(private.parent)
    count = len(served[1].images)
    for path in disguised(private, uploads):
        result = page.predict(path)
        assert not result["success"] and len(served[1].images) == count, path
    assert "not uploaded by a user" in page.predict(private)["output"]["error"], "Gradio's check"


@pytest.mark.parametrize("more", [{}, {"is_stream": True}])
def test_also_by_a_gradio_that_does_not_look(served, page, private, uploads, monkeypatch, more):
    """And nothing is copied to where Gradio serves files from."""
    monkeypatch.chdir(private.parent)
    monkeypatch.setattr("gradio.processing_utils._check_allowed", lambda *_: None)
    count = len(served[1].images)
    for path in disguised(private, uploads):
        result = page.predict(path, **more)
        assert not result["success"] and len(served[1].images) == count, path
    ours = page.predict(private, **more)["output"]["error"]
    assert ours == "This file was not dropped on the page."
    assert not list(uploads.rglob("*private*"))


def test_hosts(served, page):
    port = page.port
    for host in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        for with_port in (host, f"{host}:{port}"):
            assert page.request("/", Host=with_port).status == 200, with_port
    other = (EVIL, f"{EVIL}:{port}", "localhost.evil.example", "192.0.2.1", "0.0.0.0", "", "[::]")
    for host in (*other, "127.0.0.1.evil.example", "127.0.0.1@evil.example", "[localhost]:x"):
        for path in ("/", "/gradio_api/queue/data?session_hash=x", "/theme.css", "/none"):
            answer = page.request(path, Host=host)
            assert answer.status == 403 and answer.content.count(b"\n") == 1, host
            assert b"Open this page by the address that" in answer.content
    assert page.upload("a.png", png(1), Host=EVIL).status == 403


def test_origins(served, page):
    """Refused before anything is done; an answer never lets another page read it."""
    here = f"127.0.0.1:{page.port}"
    assert page.upload("a.png", png(1), Origin=f"http://{here}").status == 200
    assert page.upload("a.png", png(1), Origin=f"https://{here}").status == 200
    foreign = (f"http://{EVIL}", "null", "", "http://127.0.0.1", f"http://localhost:{page.port}")
    for origin in (*foreign, "http://127.0.0.1:1", f"http://{here}.{EVIL}", here):
        for answer in (
            page.upload("a.png", png(1), Origin=origin),
            page.request("/config", Origin=origin),
            page.request("/gradio_api/queue/data?session_hash=x", Origin=origin),
            page.request(
                "/gradio_api/upload",
                method="OPTIONS",
                Origin=origin,
                Access_Control_Request_Method="POST",
            ),
        ):
            assert answer.status == 403 and answer.content.count(b"\n") == 1, origin
            assert b"Only this page itself" in answer.content
            assert not [name for name in answer.headers if name.lower().startswith("access-")]


def test_websockets_are_refused_alike(page):
    """Gradio has none now, but had."""
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    handshake["Sec_WebSocket_Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    for foreign, reason in (({"Host": EVIL}, b"Open"), ({"Origin": f"http://{EVIL}"}, b"Only")):
        answer = page.request("/gradio_api/queue/join", **handshake, **foreign)
        assert answer.status == 403 and answer.content.startswith(reason), foreign


def test_what_gradio_has_besides_is_closed(page, private, uploads):
    """Its file server, its proxy, and links to the sessions of others."""
    path = json.loads(page.upload("mine.png", png(9)).content)[0]
    assert page.predict(path)["success"]
    for route in (
        *(f"/gradio_api/file={quote(str(f))}" for f in (private, path, uploads / "../private.png")),
        f"/gradio_api/file/{private}",
        "/gradio_api/file=http://127.0.0.1:9/a.png",
        "/gradio_api/proxy=http://127.0.0.1:9/a.png",
        f"/gradio_api/deep_link?session_hash={page.session}",
        "/monitoring/summary",
        "/gradio_api/openapi.json",
        "/gradio_api/queue/../file=/etc/passwd",
        "/assets",
    ):
        answer = page.request(route)
        assert answer.status == 403 and b"nothing there" in answer.content, route
    for route in ("/assets/../../../routes.py", "/static/..%2f..%2f..%2froutes.py"):
        assert page.request(route).status in (403, 404), route
    assert not (uploads / "deep_links").exists()


def test_a_server_for_other_computers(tmp_path, monkeypatch):
    """They come by an address or the computer's name; other names could be anyone's."""
    monkeypatch.setattr("socket.gethostname", lambda: "Workstation")
    monkeypatch.setattr("socket.getfqdn", lambda: "workstation.example.org")
    with serving(tmp_path, "0.0.0.0") as (address, _):
        page = Page(address)
        for host in (
            *("127.0.0.1", "192.0.2.1", "0.0.0.0", "[2001:db8::1]", "localhost", "workstation"),
            *("workstation.local", "workstation.example.org"),
        ):
            own = f"{host}:{page.port}"
            assert page.upload("a.png", png(1), Host=own, Origin=f"http://{own}").status == 200
            foreign = page.upload("a.png", png(1), Host=own, Origin=f"http://{EVIL}")
            assert foreign.status == 403 and not foreign.headers["Access-Control-Allow-Origin"]
        for host in (EVIL, "127.1", "0x7f000001", "workstation.evil.example"):
            answer = page.request("/", Host=host, Origin=f"http://{host}")
            assert answer.status == 403 and b"by the IP address" in answer.content, host
