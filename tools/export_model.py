"""Write a trained model for another runtime, run the file there and compare it with the model.

python tools/export_model.py --config-file output/streets/config.yaml --format onnx \\
    --opts MODEL.WEIGHTS output/streets/model_final.pth

--format onnx and torch_export write the dense part (backbone, FPN, semantic head, RPN head) for
any height and width that are multiples of the size divisibility; --format torchscript writes the
whole model but the fusion. docs/EXPORT.md says what each file takes and gives. The exit status is 1
if an output of the file differs from the model's by more than 1e-4 + 1e-4 * its magnitude.
"""

import argparse
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

from detectron2.modeling.meta_arch.panoptic_fpn import PanopticFPN  # noqa: E402
from tabulate import tabulate  # noqa: E402

from efficientps_d2 import InputError  # noqa: E402
from efficientps_d2.checkpoint.checkpointer import load_trained_model, require_weights  # noqa: E402
from efficientps_d2.config.loading import load_config, without_cuda  # noqa: E402
from efficientps_d2.deploy.compare import TOLERANCE, Difference, check_file  # noqa: E402
from efficientps_d2.deploy.export import SUFFIXES, WHOLE_OUTPUTS, export_model  # noqa: E402
from efficientps_d2.utils.errors import exit_status  # noqa: E402


def load_model(cfg) -> PanopticFPN:
    """The model of a config with its weights, in evaluation mode."""
    cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    model = load_trained_model(cfg)
    if not isinstance(model, PanopticFPN):
        raise InputError(
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} cannot be exported; use "
            "EfficientPS or PanopticFPN."
        )
    return model


def output_file(given: str | None, form: str, weights: str) -> Path:
    """The file to write: ``given`` may be a file or a folder; by default beside the weights."""
    beside = "." if "://" in weights else Path(weights).parent
    path, suffix = Path(given or beside), SUFFIXES[form]
    if given is None or path.is_dir() or not path.suffix:
        return path / f"model{suffix}"
    if path.suffix != suffix:
        raise InputError(f'--output "{path}" does not end with {suffix}, as files of {form} do.')
    return path


def table(differences: list[Difference]) -> str:
    rows = [
        (
            " x ".join(map(str, d.size)),
            d.output,
            " x ".join(map(str, d.shape)),
            f"{d.largest:.1e}",
            f"{d.value:.3g}",
        )
        for d in differences
    ]
    header = ["image", "output", "shape", "largest difference", "largest value"]
    return tabulate(rows, header, disable_numparse=True, tablefmt="github")


def run(args: argparse.Namespace) -> int:
    cfg = without_cuda(load_config(args.config_file, args.opts))
    require_weights(cfg, args.config_file)
    path = output_file(args.output, args.format, cfg.MODEL.WEIGHTS)
    model = load_model(cfg)
    export_model(model, args.format, path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, for pixels in {cfg.INPUT.FORMAT}\n")
    differences = check_file(model, args.format, path, input_format=cfg.INPUT.FORMAT)
    print(table(differences))
    wrong = [d for d in differences if not d.within]
    if wrong:
        worst = max(wrong, key=lambda d: d.largest)
        raise InputError(
            f"{path} differs from the model by {worst.largest:.1e} in {worst.output}, more than "
            f"{TOLERANCE:g} + {TOLERANCE:g} * the value; do not use it."
        )
    compared = {d.output for d in differences if 0 not in d.shape}
    empty = [
        name for name in WHOLE_OUTPUTS if args.format == "torchscript" and name not in compared
    ]
    if empty:
        print(f"\nNo instance was found in these pictures: {', '.join(empty)} were not compared.")
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="config.yaml of a run")
    parser.add_argument("--format", required=True, choices=SUFFIXES)
    parser.add_argument("--output", help="file or folder; default: beside the weights")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="config overrides, last: KEY VALUE ..."
    )
    args = parser.parse_args(argv)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
