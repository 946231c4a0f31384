"""Export a trained network to ONNX, torch.export or TorchScript, and compare the file with it.

efficientps-d2 export --model output/streets/model --format onnx
efficientps-d2 export --config-file output/streets/config.yaml --format torchscript \\
    --opts MODEL.WEIGHTS output/streets/model_final.pth

--format onnx and torch_export write the dense part (backbone, FPN, semantic head, RPN head) for
any height and width that are multiples of the size divisibility; --format torchscript writes the
whole network but the fusion. docs/EXPORT.md says what each file takes and gives. The exit status is
1 if an output of the file differs from the network's by more than 1e-4 + 1e-4 * its magnitude.
"""

import argparse
from pathlib import Path

from efficientps_d2_cli.options import add_overrides, path

FORMATS = ("onnx", "torch_export", "torchscript")  # of deploy.export, which a test compares


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=path, metavar="DIR", help="a saved model")
    source.add_argument("--config-file", metavar="FILE", help="of a run; weights by --opts")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--output", type=path, help="file or folder; default: beside the weights")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.checkpoint.checkpointer import load_trained_model, require_weights
    from efficientps_d2.checkpoint.saved_model import read_saved_model
    from efficientps_d2.config.loading import load_config, without_cuda
    from efficientps_d2.deploy.compare import check_file, difference_table, require_same
    from efficientps_d2.deploy.export import export_model
    from efficientps_d2.utils.files import replacing_file

    if args.model:
        cfg, _ = read_saved_model(args.model, args.opts)
    else:
        cfg = load_config(args.config_file, args.opts)
        require_weights(cfg, args.config_file)
    cfg = without_cuda(cfg)
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    path = _output_file(args.output, args.format, cfg.MODEL.WEIGHTS)
    model = load_trained_model(cfg)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path, keep_suffix=True) as partial:
        export_model(model, args.format, partial)
        differences = check_file(model, args.format, partial, input_format=cfg.INPUT.FORMAT)
        print(difference_table(differences))
        empty = require_same(differences, args.format)
    print(f"\nWrote {path}: {path.stat().st_size / 1e6:.1f} MB, for pixels in {cfg.INPUT.FORMAT}.")
    if empty:
        print(f"No instance was found in these images: {', '.join(empty)} were not compared.")
    else:
        print("It gives what the network gives.")
    return 0


def _output_file(given: Path | None, form: str, weights: str) -> Path:
    """The file to write: ``given`` may be a file or a folder; by default beside the weights."""
    from efficientps_d2.deploy.export import SUFFIXES
    from efficientps_d2.utils.errors import InputError

    beside = "." if "://" in weights else Path(weights).parent
    path, suffix = given or Path(beside), SUFFIXES[form]
    if given is None or path.is_dir() or not path.suffix:
        return path / f"model{suffix}"
    if path.suffix != suffix:
        raise InputError(f'--output "{path}" does not end with {suffix}, as files of {form} do.')
    return path
