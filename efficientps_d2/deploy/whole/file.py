"""The file of a whole network: which can be written, its inputs with defaults, its metadata."""

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir
import torch
from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from detectron2.modeling import META_ARCH_REGISTRY
from onnx_ir.passes.common import InlinePass, NameFixPass
from torch import Tensor, nn
from torch.export import Dim

from efficientps_d2.data.coco_panoptic import categories_of
from efficientps_d2.deploy.whole import functions, fusion_functions, fusion_rules, resizing
from efficientps_d2.deploy.whole.fusion_operation import FUSIONS
from efficientps_d2.deploy.whole.model import WholeModel
from efficientps_d2.modeling.meta_arch import MaskRCNN, PanopticSegmentor, UPSNet
from efficientps_d2_runtime import checksum
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.network_file import FORMAT, OUTPUTS, VERSION

OPSET = 18
CURE = "--format onnx_dense or torchscript may do"
SIZE = (203, 301)  # of the image that the network is traced with
TRANSLATIONS = {
    getattr(torch.ops.efficientps_d2, name).default: getattr(module, name)
    for module, names in (
        (
            functions,
            (
                *("prepare", "select_proposals", "pool", "select_detections"),
                *("scale_boxes", "enlarge"),
            ),
        ),
        (fusion_functions, ("fuse",)),
    )
    for name in names
} | {torch.ops.aten.group_norm.default: functions.group_norm}


def write_whole(
    model: PanopticSegmentor,
    cfg: CfgNode,
    metadata: Metadata,
    path: Path,
    say: Callable[[str], None] = lambda step: None,
) -> None:
    """Write a network, from image to panoptic map, as one ONNX file.

    Args:
        model: in evaluation mode, on the CPU; it is not changed.
        cfg: it was built with.
        metadata: names, colours and ids of its classes.
        path: the file.
        say: called with what is done next.

    Raises:
        InputError: if a part of the network has no form in ONNX.
    """
    require_known_parts(model, cfg)
    combine = cfg.MODEL.PANOPTIC_FPN.COMBINE
    defaults = {
        "score_threshold": float(combine.INSTANCES_CONFIDENCE_THRESH),
        "overlap_threshold": float(combine.OVERLAP_THRESH),
        "stuff_area_limit": int(combine.STUFF_AREA_LIMIT),
    }
    thresholds = tuple(map(torch.tensor, defaults.values()))
    image = torch.randint(0, 255, (*SIZE, 3), dtype=torch.uint8)
    sizes = {0: Dim("height"), 1: Dim("width")}
    try:
        program = to_onnx(
            WholeModel(model, cfg).eval(),
            dict(zip(("image", *defaults), (image, *thresholds), strict=True)),
            (sizes, None, None, None),
            list(OUTPUTS),
            say,
        )
    except Exception as error:  # the exporters raise many kinds
        raise InputError(
            f"This network cannot be exported as onnx: {type(error).__name__}, "
            f"{one_line(error)[:300]}; --format onnx_dense may work."
        ) from error
    _set_defaults(program.model, thresholds)
    program.model.metadata_props.update(
        {
            "format": FORMAT,
            "version": str(VERSION),
            "categories": json.dumps(categories_of(metadata)),
            "resize": f"{cfg.INPUT.MIN_SIZE_TEST} {cfg.INPUT.MAX_SIZE_TEST}",
            "size_divisibility": str(model.backbone.size_divisibility),
            **{name: str(value) for name, value in defaults.items()},
            **checksum.METADATA,
        }
    )
    program.save(path)
    path.write_bytes(checksum.seal(path.read_bytes()))


@torch.no_grad()
def to_onnx(
    module: nn.Module,
    inputs: dict[str, Tensor],
    dynamic_shapes: tuple,
    outputs: Sequence[str],
    say: Callable[[str], None] = lambda step: None,
) -> torch.onnx.ONNXProgram:
    """A module that uses :mod:`operations`, in ONNX.

    Args:
        module: in evaluation mode.
        inputs: an example of each, by name.
        dynamic_shapes: of ``torch.export``, one for each input.
        outputs: their names.
        say: called with what is done next.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the check of the file finds what they are about
        say("Tracing the network, which takes PyTorch's exporter up to some minutes.")
        program = torch.export.export(
            module, tuple(inputs.values()), dynamic_shapes=dynamic_shapes, strict=False
        )
        say("Translating it to ONNX, which takes as long.")
        program = torch.onnx.export(
            program,
            input_names=list(inputs),
            output_names=outputs,
            custom_translation_table=TRANSLATIONS,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=False,  # ONNX Runtime does that itself, and in less time
        )
    _inline_helpers(program.model)
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where in Python it comes from, a quarter of a small file
    return program


def require_known_config(cfg: CfgNode) -> None:
    """Raise InputError for a config of a network that has no form in ONNX."""
    name = cfg.MODEL.META_ARCHITECTURE
    kind = META_ARCH_REGISTRY.get(name)
    if not issubclass(kind, PanopticSegmentor) or issubclass(kind, MaskRCNN | UPSNet):
        raise InputError(
            f"MODEL.META_ARCHITECTURE {name} cannot be exported as onnx, only EfficientPS and "
            f"PanopticSegmentor; {CURE}."
        )
    method = cfg.MODEL.PANOPTIC_FPN.COMBINE.METHOD
    if method not in FUSIONS:
        raise InputError(
            f"MODEL.PANOPTIC_FPN.COMBINE.METHOD {method} cannot be exported as onnx; use one of "
            f"{', '.join(FUSIONS)}."
        )
    if cfg.MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE:
        raise InputError(f"MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE cannot be exported as onnx; {CURE}.")


def require_known_parts(model: PanopticSegmentor, cfg: CfgNode) -> None:
    """Raise InputError for a network that has other parts than WholeModel knows."""
    require_known_config(cfg)
    if cfg.INPUT.FORMAT == "BANDS":
        raise InputError(
            f"INPUT.FORMAT is BANDS, but a whole network in ONNX takes photographs; {CURE}."
        )
    heads = model.roi_heads
    for part, attribute in (
        (model.sem_seg_head, "layers"),
        (heads, "mask_in_features"),
        (getattr(heads, "mask_head", None), "layers"),
    ):
        if not hasattr(part, attribute):
            raise InputError(
                f"{type(part).__name__} cannot be exported as onnx, for it has no "
                f"{attribute}; {CURE}."
            )


def _inline_helpers(model: ir.Model) -> None:
    """Put the functions that functions call, which PyTorch does not see, in their places."""
    for helper in (*fusion_rules.HELPERS, *resizing.HELPERS):
        function = ir.serde.deserialize_function(helper.to_function_proto())
        model.functions[function.identifier()] = function
        model.opset_imports[function.domain] = 1
    InlinePass()(model)
    NameFixPass()(model)


def _set_defaults(model: ir.Model, thresholds: tuple) -> None:
    """Whoever runs the file may leave these inputs out."""
    for value, default in zip(model.graph.inputs[1:], thresholds, strict=True):
        value.const_value = ir.tensor(default.numpy(), name=value.name)
        model.graph.register_initializer(value)
