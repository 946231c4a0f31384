"""Which requests the web page answers: those of its own visitors, for what it consists of.

A page of another site, open in the same browser, can send requests to this computer, too. What it
cannot choose is their ``Origin``, nor, if it has its own name point here (DNS rebinding), ``Host``.
"""

import base64
import re
import secrets
import socket
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

HOST = re.compile(r"(\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:/@\s]+))(:\d+)?")
# What the page and Gradio's clients fetch. Gradio has more: it fetches files from other hosts,
# keeps the sessions of visitors under links, and reports how the page is used.
PATHS = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(assets|static|svelte)/.+"
    r"|/gradio_api/(upload|upload_progress|queue/join|queue/data|cancel|reset|info|startup-events"
    r"|heartbeat/\w+|app_id)/?"
)


class OwnRequests:
    """Middleware that answers all other requests with a status from 400 on and a sentence."""

    def __init__(self, app: ASGIApp, host: str, password: str, upload_limit: int) -> None:
        """
        Args:
            app: what answers the requests of visitors.
            host: what the user gave: an address to listen at, or a name of it.
            password: of visitors, with any name; "" for none.
            upload_limit: bytes of a request.
        """
        self.app, self.password, self.upload_limit = app, password, upload_limit
        self.only_loopback = host == "localhost" or is_loopback(host)
        self.names = {"localhost", host.lower()}
        if not self.only_loopback:
            name = socket.gethostname()
            self.names |= {x.lower() for x in (name, f"{name}.local", socket.getfqdn())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] in ("http", "websocket"):
            answer = self.refusal(Headers(scope=scope), scope["path"], scope.get("method"))
        await (answer or self.app)(scope, receive, send)

    def refusal(self, headers: Headers, path: str, method: str | None) -> Response | None:
        """The answer to a request that is not let through."""
        if reason := self.why_not(headers, path):
            return PlainTextResponse(f"{reason}\n", 403)
        if self.password and not self.knows_password(headers.get("authorization", "")):
            login = {"WWW-Authenticate": 'Basic realm="efficientps_d2", charset="UTF-8"'}
            return PlainTextResponse("Give the password that the command printed.\n", 401, login)
        length = headers.get("content-length", "")
        if method == "POST" and (not length.isdecimal() or "transfer-encoding" in headers):
            return PlainTextResponse("Say how long the request is.\n", 411)
        if method == "POST" and int(length) > self.upload_limit:
            limit = f"{self.upload_limit / 2**20:.0f} MB"
            return PlainTextResponse(f"This page takes up to {limit}; give less.\n", 413)
        return None

    def knows_password(self, authorization: str) -> bool:
        """Whether a header holds the password, after any name."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True).partition(b":")[2]
        except ValueError:
            given = b""
        right = secrets.compare_digest(given, self.password.encode())
        return scheme.lower() == "basic" and right

    def why_not(self, headers: Headers, path: str) -> str:
        """A sentence that says why a request is refused, or nothing."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.is_own(hosts[0]):
            if self.only_loopback:
                return "Open this page by the address that its command printed."
            return "Open this page by the IP address of its computer."
        for origin in headers.getlist("origin"):
            # "null" is that of a file or a sandbox.
            if origin.lower().partition("://")[2] != hosts[0].lower():
                return "Only this page itself may send requests to it."
        return "" if PATHS.fullmatch(path) else "This page has nothing there."

    def is_own(self, host: str) -> bool:
        """Whether this computer is reached under a Host; its port may be that of a tunnel."""
        match = HOST.fullmatch(host)
        if match is None:
            return False
        name = match["v6"] or match["name"].lower()
        # A site can have its name point anywhere, but an address is not anyone's name.
        is_address = is_loopback if self.only_loopback else is_ip
        return name in self.names or is_address(name)


def is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    return is_ip(host) and ip_address(host).is_loopback
