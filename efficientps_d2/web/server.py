"""The server of the page: its address, its guard, its end."""

import contextlib
import importlib.util
import os
import secrets
import socket
import tempfile
from pathlib import Path

from detectron2.config import CfgNode

from efficientps_d2.data.bands import BANDS
from efficientps_d2.prediction.predictor import OF_DEMO, Predictor, load_predictor
from efficientps_d2_runtime.errors import InputError, one_line

# Gradio's page has its fonts and scripts with it; with this the browser refuses any other host.
ONLY_FROM_HERE = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"


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


def make_server(predictor: Predictor, host: str, password: str = "", megapixels: float = 16):
    """A ``uvicorn.Server`` of the page; its ``run(sockets=[...])`` answers until Ctrl-C.

    Args:
        predictor: of the images dropped on the page.
        host: that of :func:`listen`; requests for other hosts are refused.
        password: of visitors, with any name; "" for none.
        megapixels: of the largest image that is taken.
    """
    import uvicorn
    from fastapi import FastAPI
    from gradio import mount_gradio_app

    from efficientps_d2.web.page import UPLOAD_LIMIT, make_page
    from efficientps_d2.web.requests import OwnRequests

    app = FastAPI(openapi_url=None)
    # The request of an upload has a few lines more than the file.
    app.add_middleware(
        OwnRequests, host=host, password=password, upload_limit=UPLOAD_LIMIT + 10_000
    )
    page = make_page(predictor, round(megapixels * 1e6))
    mount_gradio_app(app, page, "/", footer_links=[], run_history=False, max_file_size=UPLOAD_LIMIT)
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


def require_photographs(cfg: CfgNode) -> None:
    """Raise InputError for a model of bands, which no page can show."""
    if cfg.INPUT.FORMAT == BANDS:
        raise InputError(
            f"{cfg.MODEL.WEIGHTS} takes images of {len(cfg.MODEL.PIXEL_MEAN)} bands, which the "
            "page cannot show; use efficientps-d2 predict."
        )


def serve(
    model: Path | None, host: str, port: int, device: str = "", megapixels: float = 16
) -> int:
    """Answer on a port until Ctrl-C; returns the exit status of a command.

    Args:
        model: folder of a saved model, by default the one that ``make demo`` leaves.
        host: of this computer, "0.0.0.0" for all its addresses.
        port: 0 for any free one.
        device: "cuda", "cpu" or such; CUDA if there is one by default.
        megapixels: of the largest image that is taken.

    Raises:
        InputError: if Gradio is missing, or the model, the device or the port cannot be used.
    """
    if importlib.util.find_spec("gradio") is None:
        raise InputError('Gradio is not installed; run: pip install "efficientps-d2[web]"')
    _serve(model, host, port, device, megapixels)
    return 0


def _serve(model: Path | None, host: str, port: int, device: str, megapixels: float) -> None:
    from efficientps_d2.web.requests import is_loopback

    # Not in Gradio's usual folder, which all users of a computer share and which stays.
    with tempfile.TemporaryDirectory() as uploads, contextlib.suppress(KeyboardInterrupt):
        os.environ["GRADIO_TEMP_DIR"] = uploads
        with listen(host, port) as listener:
            open_to_others = not is_loopback(listener.getsockname()[0])
            password = secrets.token_urlsafe(9) if open_to_others else ""
            predictor = load_predictor(model, device)
            require_photographs(predictor.cfg)
            print(f"Model: {predictor.cfg.MODEL.WEIGHTS}, {predictor}.", flush=True)
            if model is None:
                print(f"{OF_DEMO} --model takes another.", flush=True)
            server = make_server(predictor, host, password, megapixels)
            print(f"{address(listener)} is ready; Ctrl-C ends it.", flush=True)
            if password:
                sentence = f"Other computers can open it, with any name and the password {password}"
                print(sentence, flush=True)
            server.run(sockets=[listener])
