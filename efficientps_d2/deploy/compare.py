"""An exported file is run by its own runtime and compared with the model it was made from."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detectron2.modeling.meta_arch.panoptic_fpn import PanopticFPN
from tabulate import tabulate
from torch import Tensor
from torch.nn import functional as F

from efficientps_d2.data.streets.scene import paint_scene
from efficientps_d2.deploy.export import WHOLE_OUTPUTS, DensePart, fusion_inputs
from efficientps_d2_runtime.errors import InputError

# |file - model| <= TOLERANCE + TOLERANCE * |model|, for every number.
TOLERANCE = 1e-4
# Images, height and width, in units of the largest stride; none is that of the export.
CHECK_SIZES = ((1, 2, 4), (2, 5, 3), (1, 8, 12))
UNPADDED = 7  # pixels by which images for the whole model fall short of a multiple

Outputs = dict[str, Tensor]


class Difference(NamedTuple):
    """How far one output of a file is from the model's.

    ``shape`` is that of the file's output; ``largest`` is the largest absolute difference,
    infinite if the model's output has another shape or kind; ``value`` is the largest magnitude in
    the model's output.
    """

    size: tuple[int, ...]
    output: str
    shape: tuple[int, ...]
    largest: float
    value: float
    within: bool


def check_file(
    model: PanopticFPN, form: str, path: Path, sizes=CHECK_SIZES, input_format: str = "RGB"
) -> list[Difference]:
    """Compare a file of :func:`export_model` with ``model`` on painted scenes.

    Args:
        model: in evaluation mode, on the CPU.
        form: a key of ``SUFFIXES``.
        path: the file.
        sizes: number, height and width of images, in units of the largest stride.
        input_format: "RGB", "BGR" or "BANDS".
    """
    run_file = runner(form, path)
    differences = []
    dense = DensePart(model).eval()
    strides = [shape.stride for shape in model.backbone.output_shape().values()]
    unit = max(model.backbone.size_divisibility, *strides)  # p6 may have 64
    for seed, size in enumerate(sizes):
        images = scenes(size, unit, seed, input_format)
        if input_format == "BANDS":
            images = as_bands(images, model.pixel_mean, model.pixel_std)
        if form == "torchscript":
            image = images[0, :, UNPADDED:, UNPADDED:].contiguous()
            differences += _compare(model, image, run_file, _eager_whole)
        else:
            differences += _compare(dense, images, run_file, DensePart.__call__)
    return differences


def difference_table(differences: list[Difference]) -> str:
    """One line for each output, over all images."""
    header = ["output", "largest difference", "largest value"]
    rows = []
    for output in dict.fromkeys(d.output for d in differences):
        group = [d for d in differences if d.output == output]
        largest, value = np.max([(d.largest, d.value) for d in group], axis=0)  # NaN stays
        rows.append((output, f"{largest:.1e}", f"{value:.3g}"))
    return tabulate(rows, header, disable_numparse=True, tablefmt="github")


def require_same(differences: list[Difference], form: str) -> list[str]:
    """The outputs that could not be compared, because no instance was found.

    Raises:
        InputError: if an output of the file differs from the model's.
    """
    wrong = [d for d in differences if not d.within]
    if wrong:
        worst = max(wrong, key=lambda d: d.largest)
        raise InputError(
            f"The {form} file differs from the model by {worst.largest:.1e} in {worst.output}, "
            f"more than {TOLERANCE:g} + {TOLERANCE:g} * the value; it was not kept."
        )
    compared = {d.output for d in differences if 0 not in d.shape}
    return [name for name in WHOLE_OUTPUTS if form == "torchscript" and name not in compared]


def scenes(size: tuple[int, int, int], unit: int, seed: int, input_format: str) -> Tensor:
    """Painted streets (N, 3, H, W) float32 from 0 to 255."""
    rng = np.random.default_rng(seed)
    count, height, width = size
    painted = np.stack([paint_scene(rng)[0] for _ in range(count)])
    images = torch.from_numpy(painted).permute(0, 3, 1, 2).float()
    if input_format == "BGR":
        images = images.flip(1)
    return F.interpolate(images, size=(height * unit, width * unit), mode="area")


def as_bands(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(N, C, H, W) of images (N, 3, H, W): as many bands, with values as the network is used to."""
    channels = torch.arange(len(mean)) % 3
    return (images[:, channels] - 127) / 64 * std + mean


def runner(form: str, path: Path) -> Callable[[Tensor], Outputs]:
    """A function that runs a file by its own runtime, from an image tensor to outputs by name."""
    if form == "onnx_dense":
        return _onnx_runner(path)
    if form == "torch_export":
        return torch.export.load(path).module()
    traced = torch.jit.load(path)
    return lambda image: dict(zip(WHOLE_OUTPUTS, traced(image), strict=True))


def _onnx_runner(path: Path) -> Callable[[Tensor], Outputs]:
    import onnxruntime  # only files of ONNX need it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(image: Tensor) -> Outputs:
        values = session.run(names, {"image": image.numpy()})
        return {k: torch.from_numpy(v) for k, v in zip(names, values, strict=True)}

    return run


def _eager_whole(model: PanopticFPN, image: Tensor) -> Outputs:
    return dict(zip(WHOLE_OUTPUTS, fusion_inputs(model, image), strict=True))


@torch.no_grad()
def _compare(model, image: Tensor, run_file, run_model) -> list[Difference]:
    expected, found = run_model(model, image), run_file(image)
    return [
        _difference(tuple(image.shape), name, value, found.get(name))
        for name, value in expected.items()
    ]


def _difference(size, name: str, expected: Tensor, found: Tensor | None) -> Difference:
    largest_value = expected.abs().max().item() if expected.numel() else 0.0
    if found is None or found.shape != expected.shape or found.dtype != expected.dtype:
        shape = () if found is None else tuple(found.shape)
        return Difference(size, name, shape, float("inf"), largest_value, False)
    largest = (found - expected).abs().max().item() if expected.numel() else 0.0
    within = torch.isclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE).all().item()
    return Difference(size, name, tuple(found.shape), largest, largest_value, within)
