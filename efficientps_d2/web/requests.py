"""Which requests the web page answers: those of its own visitors, for what it consists of.

A page of another site, open in the same browser, can send requests to this computer, too. What it
cannot choose is their ``Origin``, nor, if it has its own name point here (DNS rebinding), ``Host``.
"""

import re
import socket
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

HOST = re.compile(r"(\[(?P<v6>[^\[\]]+)\]|(?P<name>[^\[\]:/@\s]+))(:\d+)?")
# What the page and Gradio's clients fetch. Gradio has more: it fetches files from other hosts,
# keeps the sessions of visitors under links, and tells how the page is used.
PATHS = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(assets|static|svelte)/.+"
    r"|/gradio_api/(upload|upload_progress|queue/join|queue/data|cancel|reset|info|startup-events"
    r"|heartbeat/\w+|app_id)/?"
)


class OwnRequests:
    """Middleware that answers all other requests with 403 and a sentence."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        """``host`` is what the user gave: an address to listen at, or a name of it."""
        self.app = app
        self.only_loopback = host == "localhost" or is_loopback(host)
        self.names = {"localhost", host.lower()}
        if not self.only_loopback:
            name = socket.gethostname()
            self.names |= {x.lower() for x in (name, f"{name}.local", socket.getfqdn())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = ""
        if scope["type"] in ("http", "websocket"):
            reason = self.why_not(Headers(scope=scope), scope["path"])
        if reason:
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

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
