"""Predict any number of images, on this machine or on a cluster of Ray.

efficientps-d2 predict-batch --input photos/ --output results/ --model output/mine/model
efficientps-d2 predict-batch --input 's3://bucket/**' --output s3://other/results --model nuclei
efficientps-d2 predict-batch --input images.parquet --output results/ --model model.onnx \\
    --address auto

Results come in shards: panoptic PNGs with COCO's JSON, and Parquet tables of segments and errors.
What was stopped or killed goes on by the same command. The exit status is 1 if images failed; the
table of errors names them.
"""

import argparse
from pathlib import Path

from efficientps_d2_cli.options import (
    PRECISIONS,
    add_network_flags,
    add_overrides,
    path,
    positive,
    require_threshold,
)

ONE_INPUT = "give --input once: a folder, Parquet, or a pattern in quotes such as 'photos/*.png'"
RUNTIMES, ONNX = ("pytorch", "onnx"), ".onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGES", help="the same as --input")
    parser.add_argument(
        "--input",
        metavar="IMAGES",
        help="a folder, a pattern such as 'photos/**', or Parquet; a path or an address; default: "
        "that of the output",
    )
    parser.add_argument(
        "--output", metavar="DIR", help="a folder, or an address such as s3://..., for results"
    )
    parser.add_argument(
        "--model",
        type=path,
        help="a saved model, or an ONNX file; default: that of the output, or of make demo",
    )
    parser.add_argument(
        "--runtime", choices=RUNTIMES, help="default: onnx for an ONNX file, else pytorch"
    )
    parser.add_argument(
        "--column", default="", help="of Parquet files: with paths, or the bytes of images"
    )
    parser.add_argument(
        "--address",
        default="",
        help="of a Ray cluster, or auto; default: RAY_ADDRESS, or Ray starts here",
    )
    parser.add_argument(
        "--workers", type=positive, default=0, help="default: one of each GPU, or of four cores"
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=1,
        metavar="N",
        help="images of one size that are predicted at once; default 1",
    )
    parser.add_argument(
        "--shard-size", type=positive, default=0, metavar="N", help="images; default: up to 256"
    )
    add_network_flags(parser)
    parser.add_argument(
        "--retry-errors", action="store_true", help="also repeat shards in which images failed"
    )
    add_overrides(parser)


def before(args: argparse.Namespace) -> None:
    """Mistakes of flags and files."""
    given = [*args.images, *([args.input] if args.input else [])]
    if len(given) > 1:
        args.parser.error(ONE_INPUT)
    if not args.output:
        args.parser.error("give --output, a folder for the results")
    require_threshold(args)
    require_ray()
    begun = take_from_output(args)
    args.input = given[0] if given else begun and begun.input
    if args.input is None:
        args.parser.error(ONE_INPUT)
    if begun is None:
        from efficientps_d2_runtime.batch.listing import require_input

        require_input(args.input, args.column)
    if args.runtime == "onnx" and args.model is None:
        args.parser.error("--runtime onnx needs --model FILE.onnx")
    is_onnx = args.model is not None and args.model.suffix == ONNX
    args.runtime = args.runtime or RUNTIMES[is_onnx]
    if args.runtime == "onnx":
        given = {"--tile": args.tile, "--opts": args.opts, "--batch-size": args.batch_size > 1}
        given["--precision"] = args.precision != PRECISIONS[0]
        if flags := [flag for flag, value in given.items() if value]:
            args.parser.error(f"{flags[0]} is for --runtime pytorch")
        require_network_file(args.model)


def require_ray() -> None:
    """Raise InputError if Ray is not installed, before anything is loaded."""
    from importlib.util import find_spec

    from efficientps_d2_runtime.errors import InputError

    if find_spec("ray") is None:
        raise InputError('Predicting batches needs Ray; run: pip install -e runtime -e ".[ray]".')


def take_from_output(args: argparse.Namespace):
    """Set what is not given as an output was begun; returns what that is of, if it was."""
    from efficientps_d2_runtime.batch.output import Output

    begun = Output(args.output).manifest()
    if begun:
        args.model = args.model or path(begun.model["name"])
        args.column = args.column or begun.column
    return begun


def require_network_file(file: Path) -> None:
    """Raise InputError for what is no ONNX file, before PyTorch is loaded."""
    from efficientps_d2_runtime.errors import InputError

    if file.suffix != ONNX or not file.is_file():
        raise InputError(
            f"{file} is no ONNX file; write one by efficientps-d2 export --format onnx, or leave "
            "--runtime onnx out."
        )


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.prediction.batch import predict_batch
    from efficientps_d2.prediction.batch_models import onnx_model, pytorch_model
    from efficientps_d2_runtime.batch.output import Output

    if args.runtime == "onnx":
        model = onnx_model(args.model, args.confidence_threshold)
    else:
        settings = args.confidence_threshold, args.precision, args.tile, args.opts
        model = pytorch_model(args.model, *settings)
    failed = predict_batch(
        args.input,
        Output(args.output),
        model,
        column=args.column,
        address=args.address,
        workers=args.workers,
        batch_size=args.batch_size,
        size=args.shard_size,
        retry_errors=args.retry_errors,
    )
    return int(failed > 0)
