"""A trained model as a file for other runtimes: torch.export, ONNX and TorchScript."""

import copy
import importlib.util
import io
import logging
import sys
import warnings
from pathlib import Path

import torch
from detectron2.export import TracingAdapter
from detectron2.export.torchscript_patch import patch_builtin_len
from detectron2.modeling.meta_arch.panoptic_fpn import PanopticFPN
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from efficientps_d2.modeling.meta_arch import MaskRCNN
from efficientps_d2_runtime.errors import InputError, one_line

SUFFIXES = {"onnx_dense": ".onnx", "torch_export": ".pt2", "torchscript": ".ts"}
# Outputs of the file in TorchScript, in this order.
WHOLE_OUTPUTS = ("pred_boxes", "scores", "pred_classes", "pred_mask_logits", "sem_seg")
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class DensePart(nn.Module):
    """What a panoptic model computes for every pixel: all but proposals, RoI heads and fusion."""

    def __init__(self, model: PanopticFPN):
        super().__init__()
        self.backbone = model.backbone
        self.sem_seg_head = model.sem_seg_head
        self.rpn_head = model.proposal_generator.rpn_head
        self.rpn_features = list(model.proposal_generator.in_features)
        self.size_divisibility = model.backbone.size_divisibility
        self.register_buffer("pixel_mean", model.pixel_mean)
        self.register_buffer("pixel_std", model.pixel_std)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """
        Args:
            image: (N, C, H, W) float32, values as in the files (from 0 to 255 of photographs) and
                channels as ``INPUT.FORMAT`` says; H and W are multiples of ``size_divisibility``,
                the backbone's.

        Returns:
            All float32: ``sem_seg`` (N, K, H, W) logits; the features of the FPN by name, as "p2"
            (N, C, H / 4, W / 4); for each feature p of the RPN ``objectness_logits_p`` (N, A, H /
            s, W / s) and ``anchor_deltas_p`` (N, 4 A, H / s, W / s), as Detectron2's RPN head
            gives them.

        Raises:
            InputError: for another height or width.
        """
        height, width = image.shape[-2:]
        if height % self.size_divisibility or width % self.size_divisibility:
            raise InputError(
                f"The image has {height} x {width} pixels; pad it to multiples of "
                f"{self.size_divisibility}."
            )
        features = self.backbone((image - self.pixel_mean) / self.pixel_std)
        sem_seg, _ = self.sem_seg_head(features)
        logits, deltas = self.rpn_head([features[name] for name in self.rpn_features])
        outputs = {"sem_seg": sem_seg, **features}
        for name, level_logits, level_deltas in zip(self.rpn_features, logits, deltas, strict=True):
            outputs[f"objectness_logits_{name}"] = level_logits
            outputs[f"anchor_deltas_{name}"] = level_deltas
        return outputs


def fusion_inputs(model: PanopticFPN, image: Tensor) -> tuple[Tensor, ...]:
    """What the fusion needs of one image (C, H, W), float32, values as in the files, of any size.

    Returns:
        In the order of ``WHOLE_OUTPUTS``: boxes (N, 4) float32 in pixels of the image, scores (N,)
        float32, classes (N,) int64 from 0 to things - 1, mask logits (N, M, M) float32 of that
        class, and semantic logits (K, H, W) float32.
    """
    (instances,), (sem_seg,) = model.inference([{"image": image}], do_postprocess=False)
    height, width = image.shape[-2:]
    if not instances.has("pred_mask_logits"):
        raise InputError(
            "This model's mask head keeps no logits, so it cannot be exported as torchscript; its "
            "dense part can, as onnx_dense or torch_export."
        )
    return (
        instances.pred_boxes.tensor,
        instances.scores,
        instances.pred_classes,
        instances.pred_mask_logits,
        sem_seg[:, :height, :width],
    )


def export_model(model: PanopticFPN, form: str, path: Path) -> None:
    """Write a model: "onnx_dense" and "torch_export" its dense part, "torchscript" all but fusion.

    Args:
        model: in evaluation mode, on the CPU; it is not changed.
        form: a key of ``SUFFIXES``.

    Raises:
        InputError: if packages are missing or a part of the model cannot be exported.
    """
    if not isinstance(model, PanopticFPN):
        raise InputError(
            f"MODEL.META_ARCHITECTURE {type(model).__name__} cannot be exported; use a network "
            "with a semantic head and RoI heads, such as EfficientPS or PanopticFPN."
        )
    if isinstance(model, MaskRCNN):
        raise InputError(
            "MODEL.META_ARCHITECTURE MaskRCNN cannot be exported: an exported file gives semantic "
            "logits, which it does not have."
        )
    if form == "onnx_dense":
        require_onnx()
    divisor = model.backbone.size_divisibility
    model = with_static_padding(model)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the check of the file finds what they are about
            if form == "onnx_dense":
                _write_onnx(model, divisor, path)
                return
            content = io.BytesIO()  # PyTorch's own writing ends the process if a disk is full
            if form == "torchscript":
                torch.jit.save(_trace(model, divisor), content)
            else:
                torch.export.save(_export_dense(model, divisor), content)
            path.write_bytes(content.getbuffer())
    except (OSError, InputError):
        raise
    except Exception as error:  # the exporters raise many kinds
        raise InputError(
            f"This model cannot be exported as {form}: {type(error).__name__}, "
            f"{one_line(error)[:300]}; docs/EXPORT.md says what can."
        ) from error


def require_onnx() -> None:
    """
    Raises:
        InputError: if a package for ONNX files is missing.
    """
    missing = [p for p in ONNX_PACKAGES if importlib.util.find_spec(p) is None]
    if missing:
        raise InputError(
            f"ONNX files need {missing[0]}; run: pip install {' '.join(ONNX_PACKAGES)}"
        )


def with_static_padding(model: nn.Module) -> nn.Module:
    """A copy in which TensorFlow's SAME padding is constant, as it is for padded images.

    timm computes it from each size; nested over all layers, torch.export would need minutes for
    such sizes. Where the stride divides the size they are equal.
    """
    model = copy.deepcopy(model)
    for name, conv in list(model.named_modules()):
        if isinstance(conv, Conv2dSame):
            model.set_submodule(name, _pad_and_convolve(conv))
    return model


def _pad_and_convolve(conv: Conv2dSame) -> nn.Sequential:
    padding = []
    for axis in (1, 0):  # ZeroPad2d wants left, right, top, bottom
        total = conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1 - conv.stride[axis]
        padding += [max(total, 0) // 2, max(total, 0) - max(total, 0) // 2]
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return nn.Sequential(nn.ZeroPad2d(padding), plain)


def _export_dense(model: PanopticFPN, divisor: int) -> ExportedProgram:
    # Sizes of 0 and 1 would become constants, and equal ones one symbol.
    image = torch.rand(2, len(model.pixel_mean), 3 * divisor, 5 * divisor) * 255
    sizes = {0: Dim("batch"), 2: divisor * Dim("rows"), 3: divisor * Dim("columns")}
    # With channels last the exporter would have to reason about strides, too.
    dense = DensePart(model).eval().to(memory_format=torch.contiguous_format)
    return torch.export.export(dense, (image,), dynamic_shapes=(sizes,))


def _write_onnx(model: PanopticFPN, divisor: int, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    names = list(DensePart(model)(torch.zeros(1, len(model.pixel_mean), divisor, divisor)))
    program = torch.onnx.export(
        _export_dense(model, divisor),
        input_names=["image"],
        output_names=names,
        dynamo=True,
        verbose=False,
    )
    # ONNX Runtime refuses no size, so that whoever runs the file must check it.
    program.model.metadata_props["size_divisibility"] = str(divisor)
    program.save(path)


def _trace(model: PanopticFPN, divisor: int) -> torch.jit.ScriptModule:
    image = torch.rand(len(model.pixel_mean), 4 * divisor, 6 * divisor) * 255
    # Without the patch the number of detections of this image would become a constant.
    modules = [name for name in sys.modules if name.startswith("efficientps_d2.modeling.")]
    with patch_builtin_len(modules):
        adapter = TracingAdapter(model, image, fusion_inputs)
        return torch.jit.trace(adapter, (image,), check_trace=False)
