"""Open a local web page that segments images dropped on it.

efficientps-d2 web --model output/mine/model

Without --model it takes the model that `make demo` leaves. Ctrl-C ends it.
"""

import argparse

from efficientps_d2_cli.options import path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=path, metavar="DIR", help="a saved model; default: that of make demo"
    )
    parser.add_argument("--port", type=int, default=7860, help="default 7860; 0 takes a free one")
    hosts = "default 127.0.0.1; 0.0.0.0 lets other computers in, with the password that it prints"
    parser.add_argument("--host", default="127.0.0.1", help=hosts)
    parser.add_argument(
        "--megapixels",
        type=positive,
        default=16,
        help="of the largest image, which may have 50 MB; default 16",
    )
    parser.add_argument("--device", default="", help="cuda, cpu or such; default: CUDA if possible")


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.web.server import serve

    return serve(args.model, args.host, args.port, args.device, args.megapixels)
