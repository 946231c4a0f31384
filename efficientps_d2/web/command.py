"""A local web page that segments pictures dropped on it.

python -m efficientps_d2.web --model output/mine/model

Without --model it takes the model that `make demo` leaves. Ctrl-C ends it.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from efficientps_d2.prediction.predictor import Predictor, load_predictor
from efficientps_d2.utils.errors import InputError, exit_status, one_line

# Gradio's page has its fonts and scripts with it; with this the browser refuses any other host.
ONLY_FROM_HERE = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m efficientps_d2.web",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="a saved model")
    parser.add_argument("--port", type=int, default=7860, help="default 7860; 0 takes a free one")
    parser.add_argument(
        "--host", default="127.0.0.1", help="default 127.0.0.1; 0.0.0.0 lets other computers in"
    )
    parser.add_argument("--device", default="", help="cuda, cpu or such; default: CUDA if possible")
    return parser.parse_args(argv)


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections.

    Raises:
        InputError: if the port is taken or the host is not this computer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        reason = reason.split(" (while")[0]  # binding to the address, which the sentence names
        raise InputError(
            f"--host {host} --port {port} cannot be used ({reason}); give others."
        ) from error


def make_server(predictor: Predictor, host: str):
    """A ``uvicorn.Server`` of the page; its ``run(sockets=[...])`` answers until Ctrl-C.

    Args:
        predictor: of the pictures dropped on the page.
        host: that of :func:`listen`; requests for other hosts are refused.
    """
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app

    from efficientps_d2.web.page import make_page
    from efficientps_d2.web.requests import OwnRequests

    app = FastAPI(openapi_url=None)
    app.add_middleware(OwnRequests, host=host)
    mount_gradio_app(app, make_page(predictor), "/", footer_links=[], run_history=False)
    config = uvicorn.Config(
        app,
        log_level="error",
        headers=[("Content-Security-Policy", ONLY_FROM_HERE)],
        timeout_graceful_shutdown=1,  # an open page keeps its connection
    )
    return uvicorn.Server(config)


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("gradio") is None:
        raise InputError('Gradio is not installed; run: pip install "efficientps-d2[web]"')
    # So that the uploads are removed then, too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _serve(args)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _serve(args: argparse.Namespace) -> None:
    # Not in Gradio's usual folder, which all users of a computer share and which stays.
    with tempfile.TemporaryDirectory() as uploads, contextlib.suppress(KeyboardInterrupt):
        os.environ["GRADIO_TEMP_DIR"] = uploads
        with listen(args.host, args.port) as listener:
            server = make_server(load_predictor(args.model, args.device), args.host)
            print(f"{address(listener)} is ready; Ctrl-C ends it.", flush=True)
            server.run(sockets=[listener])


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    return exit_status(lambda: serve(args))
