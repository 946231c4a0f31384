"""Export a trained network to ONNX, torch.export or TorchScript, and compare the file with it.

efficientps-d2 export --model output/streets/model --format onnx
efficientps-d2 export --model output/mine/model --format onnx --quantize mine_val
efficientps-d2 export --config-file output/streets/config.yaml --format torchscript \\
    --opts MODEL.WEIGHTS output/streets/model_final.pth

--format onnx writes the whole network: an image of any size goes in, its panoptic map comes out.
onnx_dense and torch_export write the dense part (backbone, FPN, semantic head, RPN head) for any
height and width that are multiples of the size divisibility; torchscript writes all but the fusion.
docs/EXPORT.md says what each file takes and gives. The exit status is 1 if the file says something
else than the network.
"""

import argparse
from pathlib import Path

from efficientps_d2_cli.options import add_overrides, path

WHOLE = "onnx"
FORMATS = (WHOLE, "onnx_dense", "torch_export", "torchscript")  # which a test compares


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--model", type=path, metavar="DIR", help="a saved model, or nuclei, which comes along"
    )
    source.add_argument("--config-file", metavar="FILE", help="of a run; weights by --opts")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--output", type=path, help="file or folder; default: beside the weights")
    parser.add_argument(
        "--check", default="", metavar="DATASET", help="onnx: also compare and score on its images"
    )
    parser.add_argument(
        "--quantize",
        default="",
        metavar="DATASET",
        help="onnx: also write NAME_int8.onnx, in 8 bits, calibrated and scored on its images",
    )
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.checkpoint.checkpointer import load_trained_model, require_weights
    from efficientps_d2.checkpoint.saved_model import metadata_of, read_saved_model
    from efficientps_d2.config.loading import load_config, without_cuda
    from efficientps_d2.deploy.compare import check_file, difference_table, require_same
    from efficientps_d2.deploy.export import export_model, require_onnx
    from efficientps_d2.prediction.overrides import asks_to_augment
    from efficientps_d2_runtime.errors import InputError
    from efficientps_d2_runtime.files import replacing_file

    if (args.check or args.quantize) and args.format != WHOLE:
        args.parser.error(f"--check and --quantize are for --format {WHOLE}")
    if args.model:
        cfg, metadata = read_saved_model(args.model, args.opts)
    else:
        cfg = load_config(args.config_file, args.opts)
        require_weights(cfg, args.config_file)
        metadata = metadata_of(cfg) if args.format == WHOLE else None
    if asks_to_augment(cfg, args.opts):
        raise InputError("A file has no test-time augmentation; leave TEST.AUG.ENABLED out.")
    cfg = without_cuda(cfg)
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    elsewhere = args.model and not args.model.is_dir()  # of a hub, or of this project
    beside = Path() if elsewhere or "://" in cfg.MODEL.WEIGHTS else Path(cfg.MODEL.WEIGHTS).parent
    path = _output_file(args.output, args.format, beside)
    if args.format == WHOLE:
        require_onnx()
        from efficientps_d2.deploy.whole.run import export_whole
        from efficientps_d2.prediction.exportable import exportable

        export_whole(exportable(cfg, metadata), path, args.check, args.quantize)
        return 0
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


def _output_file(given: Path | None, form: str, usual: Path) -> Path:
    """The file to write: ``given`` may be a file or a folder; by default in the usual one."""
    from efficientps_d2.deploy.export import SUFFIXES
    from efficientps_d2_runtime.errors import InputError

    path, suffix = given or usual, SUFFIXES.get(form, ".onnx")
    if given is None or path.is_dir() or not path.suffix:
        return path / f"{'model_dense' if form == 'onnx_dense' else 'model'}{suffix}"
    if path.suffix != suffix:
        raise InputError(f'--output "{path}" does not end with {suffix}, as files of {form} do.')
    return path
