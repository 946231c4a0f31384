"""Whether CUDA and the CPU say the same of images, with all fusion rules and precisions."""

import argparse
import contextlib

import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model

from efficientps_d2.config.loading import get_config, without_cuda
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.dataset_mapper import EvaluationMapper
from efficientps_d2.modeling.fusion.build import build_fusion
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA


@torch.no_grad()
def agreement(args: argparse.Namespace) -> list[dict]:
    """Share of pixels with the same class on CUDA and on the CPU, and under AMP.

    And the share of images with as many segments.

    Raises:
        FileNotFoundError: without the network of the part training.
    """
    cfg = with_class_counts(get_config("efficientps_streets"))
    weights = args.output / "streets_float32" / "model_final.pth"
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} is missing; add training to --parts.")
    state = torch.load(weights, weights_only=True, map_location="cpu")["model"]
    models = []
    for device in ("cpu", args.device):
        models.append(build_model(without_cuda(cfg) if device == "cpu" else cfg).eval())
        models[-1].load_state_dict(state)
    mapper = EvaluationMapper(cfg)
    inputs = [mapper(r) for r in DatasetCatalog.get("streets_val")[: 2 if args.short else 10]]
    rows = []
    for method in ("adaptive", "heuristic", "log_odds", "upsnet"):
        combine = cfg.MODEL.PANOPTIC_FPN.COMBINE.clone()
        combine.METHOD = method
        for model in models:
            model.fusion = build_fusion(combine)
        expected = [models[0]([x])[0] for x in inputs]
        for name, context in _precisions(args.device).items():
            with context:
                got = [models[1]([x])[0] for x in inputs]
            rows.append({"what": f"{method}, {name}", **_compare(expected, got)})
    augmented = [PanopticTTA.of_config(cfg, model) for model in models]
    expected, got = ([predict([x])[0] for x in inputs[:3]] for predict in augmented)
    rows.append({"what": "test-time augmentation", **_compare(expected, got)})
    return rows


def _precisions(device: str) -> dict:
    types = {"fp16": torch.float16, "bf16": torch.bfloat16} if device == "cuda" else {}
    autocasts = {name: torch.autocast(device, dtype) for name, dtype in types.items()}
    return {"fp32": contextlib.nullcontext(), **autocasts}


def _compare(expected: list[dict], got: list[dict]) -> dict:
    same = total = segments = 0
    for a, b in zip(expected, got, strict=True):
        (map_a, info_a), (map_b, info_b) = a["panoptic_seg"], b["panoptic_seg"]
        segments += len(info_a) == len(info_b)
        names = [_classes(m.cpu(), info) for m, info in ((map_a, info_a), (map_b, info_b))]
        same += int((names[0] == names[1]).sum())
        total += map_a.numel()
    return {"same class of pixels": same / total, "same number of segments": segments / len(got)}


def _classes(pan_seg, segments_info):
    table = torch.full((int(pan_seg.max()) + 1,), -1)
    for segment in segments_info:
        table[segment["id"]] = segment["category_id"]
    return table[pan_seg.long()]
