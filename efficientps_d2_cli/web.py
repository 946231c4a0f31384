"""Open a local web page that segments images dropped on it, or write one that needs no server.

efficientps-d2 web --model output/mine/model
efficientps-d2 web --model output/mine/model --static page/

Without --model it takes the model that `make demo` leaves. Ctrl-C ends it. --static writes a folder
for any file server: there the browser of the visitor predicts, and images stay with the visitor.
"""

import argparse

from efficientps_d2_cli.options import path, positive

EXPORTED = ".onnx"
OF_SERVER = ("port", "host", "megapixels", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=path,
        metavar="DIR",
        help="a saved model, or nuclei, which comes along; for --static also an .onnx; default: "
        "that of make demo",
    )
    parser.add_argument("--static", type=path, metavar="DIR", help="write the page into a folder")
    parser.add_argument(
        "--onnxruntime-web",
        type=path,
        metavar="TGZ",
        help="its npm package, for --static without network; default: fetch it",
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
    if args.static:
        given = {name: getattr(args, name) for name in OF_SERVER}
        if given != {name: args.parser.get_default(name) for name in OF_SERVER}:
            args.parser.error("--port, --host, --megapixels and --device are not for --static")
        return _write(args)
    if args.onnxruntime_web:
        args.parser.error("--onnxruntime-web is for --static")
    if args.model and args.model.suffix == EXPORTED:
        args.parser.error("--model takes an .onnx file only for --static; give a saved model")
    from efficientps_d2.web.server import serve

    return serve(args.model, args.host, args.port, args.device, args.megapixels)


def _write(args: argparse.Namespace) -> int:
    import tempfile
    from pathlib import Path

    from efficientps_d2.checkpoint.saved_model import read_saved_model
    from efficientps_d2.deploy.export import require_onnx

    require_onnx()
    from efficientps_d2.deploy.whole.file import require_known_parts
    from efficientps_d2.deploy.whole.run import verdict, write_checked
    from efficientps_d2.prediction.exportable import exportable
    from efficientps_d2.web.server import require_photographs
    from efficientps_d2.web.static import browser_runtime, require_own, write_static
    from efficientps_d2_runtime import load

    require_own(args.static)  # mistakes show before a download, and that before minutes of work
    if args.model and args.model.suffix == EXPORTED:
        load(args.model)
        write_static(args.model, args.static, browser_runtime(args.onnxruntime_web))
    else:
        cfg, metadata = read_saved_model(args.model)
        require_photographs(cfg)
        predictor = exportable(cfg, metadata)
        require_known_parts(predictor.model, predictor.cfg)
        runtime = browser_runtime(args.onnxruntime_web)
        with tempfile.TemporaryDirectory() as folder:
            network = Path(folder, "model.onnx")
            found = write_checked(predictor, network)
            write_static(network, args.static, runtime)
        print(verdict(found))
    print(f"Wrote {args.static}. Serve it by: python -m http.server --directory {args.static}")
    return 0
