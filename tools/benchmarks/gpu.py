"""Check and time the networks on a GPU, and print the tables of docs/BENCHMARKS.md.

python tools/benchmarks/gpu.py --output DIR
python tools/benchmarks/gpu.py --device cpu --short    # tries the script itself

It needs the dataset streets (efficientps-d2 streets) and no network. Parts:
training (with and without AMP), agreement (of CUDA and the CPU), steps (time and memory of a
training step at 1024 x 2048) and inference (at 1024 x 2048).
"""

import argparse
import contextlib
import importlib.util
import json
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import torch  # noqa: E402
from detectron2.config import get_cfg  # noqa: E402
from detectron2.data import DatasetCatalog  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from detectron2.utils.events import EventStorage  # noqa: E402
from tabulate import tabulate  # noqa: E402

from efficientps_d2.config.loading import get_config, without_cuda  # noqa: E402
from efficientps_d2.data.classes import with_class_counts  # noqa: E402
from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper  # noqa: E402
from efficientps_d2.engine.optimizer import build_optimizer  # noqa: E402
from efficientps_d2.modeling.fusion.build import build_fusion  # noqa: E402
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA  # noqa: E402

ROOT = Path(__file__).parents[2]
STREETS = ("DATASETS.TRAIN", "('streets_train',)", "DATASETS.TEST", "('streets_val',)")
SIZE = (1024, 2048)


def training(args) -> list[dict]:
    """PQ of streets after 300 iterations with AMP and without, by train_net.py itself."""
    config = str(ROOT / "configs" / "efficientps_streets.yaml")
    rows = []
    for amp in (False, True) if args.device == "cuda" else (False,):
        folder = args.output / f"streets_amp_{amp}".lower()
        keys = {"OUTPUT_DIR": folder, "MODEL.DEVICE": args.device, "SOLVER.AMP.ENABLED": amp}
        keys |= {"SOLVER.MAX_ITER": 4 if args.short else 300, "TEST.EVAL_PERIOD": 0}
        words = [str(word) for pair in keys.items() for word in pair]
        command = [sys.executable, str(ROOT / "train_net.py"), "--config-file", config, *words]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            rows.append({"AMP": amp, "error": (run.stdout + run.stderr)[-1500:]})
            continue
        metrics = json.loads((folder / "inference" / "streets_val_metrics.json").read_text())
        names = ("PQ", "PQ_th", "PQ_st")
        rows.append({"AMP": amp, **{k: metrics["results"][f"panoptic_seg/{k}"] for k in names}})
    return rows


@torch.no_grad()
def agreement(args) -> list[dict]:
    """Share of pixels with the same class and instance on CUDA and on the CPU, and under AMP."""
    cfg = with_class_counts(get_config("efficientps_streets"))
    weights = args.output / "streets_amp_false" / "model_final.pth"
    state = torch.load(weights, weights_only=True, map_location="cpu")["model"]
    models = []
    for device in ("cpu", args.device):
        models.append(build_model(without_cuda(cfg) if device == "cpu" else cfg).eval())
        models[-1].load_state_dict(state)
    mapper = EvaluationMapper(cfg, False)
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


def steps(args) -> list[dict]:
    """Seconds and peak memory of a training step of the Cityscapes config on painted streets."""
    rows = []
    for backbone in ("tf_efficientnet_b5", "tf_efficientnet_b0"):
        for amp in (True, False) if args.device == "cuda" else (False,):
            for batch in (1, 2, 4):
                row = {"backbone": backbone, "AMP": amp, "batch": batch}
                try:
                    more = (
                        "MODEL.EFFICIENTNET.NAME",
                        backbone,
                        *_sizes((64, 128) if args.short else SIZE),
                    )
                    row |= _step(args, more, batch, amp)
                except torch.OutOfMemoryError:
                    row["error"] = "out of memory"
                rows.append(row)
    return rows


def _sizes(size) -> tuple:
    return (
        *("INPUT.MIN_SIZE_TRAIN", str((size[0],)), "INPUT.MAX_SIZE_TRAIN", size[1]),
        *("INPUT.SCALE_JITTER", "(1.0, 1.0)", "INPUT.CROP.SIZE", str(size)),
        *("MODEL.EFFICIENTNET.NORM", "BN", "MODEL.FPN.NORM", "BN"),
        *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.ROI_MASK_HEAD.NORM", "BN"),
        *("MODEL.EFFICIENTNET.WEIGHTS", "", "SOLVER.BASE_LR", 0.001),
    )


def _step(args, more: tuple, batch: int, amp: bool) -> dict:
    words = [str(word) for word in (*STREETS, *more, "MODEL.DEVICE", args.device)]
    cfg = with_class_counts(get_config("efficientps_cityscapes", words))
    mapper = PanopticDatasetMapper(cfg)
    inputs = [mapper(record) for record in DatasetCatalog.get("streets_train")[:batch]]
    model = build_model(cfg).train()
    optimizer, scaler = build_optimizer(cfg, model), torch.amp.GradScaler(args.device, enabled=amp)
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, runs = [], 2 if args.short else 8
    with EventStorage():
        for _ in range(runs):
            start = _now(args.device)
            with torch.autocast(args.device, torch.float16, enabled=amp):
                loss = sum(model(inputs).values())
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            seconds.append(_now(args.device) - start)
    peak = torch.cuda.max_memory_allocated() / 2**30 if args.device == "cuda" else float("nan")
    return {"s a step": min(seconds[runs // 2 :]), "peak GiB": peak}


@torch.no_grad()
def inference(args) -> list[dict]:
    """Milliseconds from an image in memory to its panoptic map.

    The networks are untrained. Those with 100 instances fuse all of them; those whose boxes are not
    finite have none, and their mask head is not timed.
    """
    image = torch.randint(0, 256, (3, *((64, 128) if args.short else SIZE)), dtype=torch.uint8)
    rows = []
    for name in ("efficientps_cityscapes", "efficientps_streets", "panoptic_fpn_R_50_1x"):
        ours = name.startswith("efficientps")
        words = [*STREETS, "MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.DEVICE", args.device]
        cfg = with_class_counts(get_config(name, words)) if ours else _panoptic_fpn(args)
        cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0  # untrained: all its detections are weak
        cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH = 0.0
        for channels_last in (False, True) if ours else (False,):
            if ours:
                cfg.MODEL.EFFICIENTPS.CHANNELS_LAST = channels_last
            model = build_model(cfg).eval()
            for precision, context in _precisions(args.device).items():
                row = {"network": name, "precision": precision, "channels_last": channels_last}
                with context:
                    rows.append(row | _predict(args, model, image))
    return rows


def _predict(args, model, image) -> dict:
    times = []
    for _ in range(2 if args.short else 12):
        start = _now(args.device)
        (output,) = model([{"image": image}])
        times.append(_now(args.device) - start)
    times = sorted(times[len(times) // 3 :])  # the first warm up
    return {"ms": 1000 * times[len(times) // 2], "instances": len(output["instances"])}


def _panoptic_fpn(args):
    folder = Path(importlib.util.find_spec("detectron2").origin).parent / "model_zoo" / "configs"
    cfg = get_cfg()
    cfg.merge_from_file(folder / "COCO-PanopticSegmentation" / "panoptic_fpn_R_50_1x.yaml")
    cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = "", args.device
    return cfg


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


PARTS = {part.__name__: part for part in (training, agreement, steps, inference)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("output/gpu"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--short", action="store_true", help="tiny sizes, to try the script")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    tables, failed = {"device": device, "PyTorch": torch.__version__}, False
    for part in args.parts:
        start = time.perf_counter()
        try:
            rows = PARTS[part](args)
        except Exception as error:  # the other parts are of use all the same
            traceback.print_exc()
            rows, failed = [{"error": repr(error)}], True
        tables[part] = rows
        (args.output / "gpu.json").write_text(json.dumps(tables, indent=1))
        print(f"\n{part}, {device}, {time.perf_counter() - start:.0f} s\n", flush=True)
        print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".4g"), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
