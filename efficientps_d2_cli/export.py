"""Export a trained network to ONNX, torch.export or TorchScript, and compare the file with it.

efficientps-d2 export --model output/streets/model --format onnx
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
    source.add_argument("--model", type=path, metavar="DIR", help="a saved model")
    source.add_argument("--config-file", metavar="FILE", help="of a run; weights by --opts")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--output", type=path, help="file or folder; default: beside the weights")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.checkpoint.checkpointer import load_trained_model, require_weights
    from efficientps_d2.checkpoint.saved_model import metadata_of, read_saved_model
    from efficientps_d2.config.loading import load_config, without_cuda
    from efficientps_d2.deploy.compare import check_file, difference_table, require_same
    from efficientps_d2.deploy.export import export_model
    from efficientps_d2_runtime.files import replacing_file

    if args.model:
        cfg, metadata = read_saved_model(args.model, args.opts)
    else:
        cfg = load_config(args.config_file, args.opts)
        require_weights(cfg, args.config_file)
        metadata = metadata_of(cfg) if args.format == WHOLE else None
    cfg = without_cuda(cfg)
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    path = _output_file(args.output, args.format, cfg.MODEL.WEIGHTS)
    if args.format == WHOLE:
        return export_whole(cfg, metadata, path)
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


def export_whole(cfg, metadata, path: Path) -> int:
    """Write and check the file of a whole network; returns an exit status."""
    from efficientps_d2.deploy.export import require_onnx

    require_onnx()
    from efficientps_d2.deploy.whole.check import (
        agreement_table,
        check_whole,
        require_agreement,
    )
    from efficientps_d2.deploy.whole.file import require_known_parts, write_whole
    from efficientps_d2.prediction.predictor import Predictor
    from efficientps_d2_runtime.files import replacing_file

    predictor = Predictor(cfg, metadata, "cpu", optimize=False)
    require_known_parts(predictor.model, predictor.cfg)
    path.parent.mkdir(parents=True, exist_ok=True)
    print("Exporting, which takes PyTorch's exporter some minutes.", flush=True)
    with replacing_file(path, keep_suffix=True) as partial:
        write_whole(predictor.model, predictor.cfg, metadata, partial)
        found = check_whole(partial, lambda image: predictor(image, "RGB"))
        print(agreement_table(found))
        require_agreement(found)
    print(f"\nWrote {path}: {path.stat().st_size / 1e6:.1f} MB; it takes images in RGB.")
    if not any(agreement.instances for agreement in found):
        print("No instance was found in these images, so that none was compared.")
    else:
        print("It gives what the network gives.")
    return 0


def _output_file(given: Path | None, form: str, weights: str) -> Path:
    """The file to write: ``given`` may be a file or a folder; by default beside the weights."""
    from efficientps_d2.deploy.export import SUFFIXES
    from efficientps_d2_runtime.errors import InputError

    beside = "." if "://" in weights else Path(weights).parent
    path, suffix = given or Path(beside), SUFFIXES.get(form, ".onnx")
    if given is None or path.is_dir() or not path.suffix:
        return path / f"{'model_dense' if form == 'onnx_dense' else 'model'}{suffix}"
    if path.suffix != suffix:
        raise InputError(f'--output "{path}" does not end with {suffix}, as files of {form} do.')
    return path
