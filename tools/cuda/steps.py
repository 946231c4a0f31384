"""Time and memory of training steps of the Cityscapes config on painted streets."""

import argparse
import itertools
import statistics

import torch
from commands import SHORT_SIZE, SIZE, precisions
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from turns import now

from efficientps_d2.config.loading import get_config
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.dataset_mapper import PanopticDatasetMapper
from efficientps_d2.engine.optimizer import build_optimizer
from efficientps_d2.engine.step_trainer import StepTrainer

BACKBONES = ("tf_efficientnet_b5", "tf_efficientnet_b0")
BATCHES = (1, 2, 4)


def steps(args: argparse.Namespace) -> list[dict]:
    """A row for each backbone, precision and batch."""
    backbones, batches = (BACKBONES[1:], (1,)) if args.short else (BACKBONES, BATCHES)
    rows = []
    for backbone, precision, batch in itertools.product(backbones, precisions(args), batches):
        row = {"backbone": backbone, "precision": precision, "batch": batch}
        try:
            row |= _step(args, backbone, precision, batch)
        except torch.OutOfMemoryError:
            row["error"] = "out of memory"
        rows.append(row)
    return rows


def _step(args: argparse.Namespace, backbone: str, precision: str, batch: int) -> dict:
    height, width = SHORT_SIZE if args.short else SIZE
    keys = {
        "DATASETS.TRAIN": ("streets_train",),
        "MODEL.DEVICE": args.device,
        "MODEL.EFFICIENTNET.NAME": backbone,
        "MODEL.EFFICIENTNET.WEIGHTS": "",
        # SyncBN of a single process is BN.
        **{f"MODEL.{m}.NORM": "BN" for m in ("EFFICIENTNET", "FPN", "SEM_SEG_HEAD")},
        "MODEL.ROI_MASK_HEAD.NORM": "BN",
        "INPUT.MIN_SIZE_TRAIN": (height,),
        "INPUT.MAX_SIZE_TRAIN": width,
        "INPUT.SCALE_JITTER": (1.0, 1.0),
        "INPUT.CROP.SIZE": (height, width),
        "SOLVER.BASE_LR": 0.001,
        "SOLVER.AMP.ENABLED": precision != "float32",
    }
    if precision != "float32":
        keys["SOLVER.AMP.DTYPE"] = precision
    words = [str(word) for pair in keys.items() for word in pair]
    cfg = with_class_counts(get_config("efficientps_cityscapes", words))
    mapper = PanopticDatasetMapper(cfg)
    inputs = [mapper(record) for record in DatasetCatalog.get("streets_train")[:batch]]
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    trainer = StepTrainer.of_config(cfg, model, itertools.repeat(inputs), optimizer)
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    with EventStorage():
        for trainer.iter in range(3 if args.short else 12):
            start = now(args.device)
            trainer.run_step()
            times.append(now(args.device) - start)
    row = {"ms": statistics.median(times[len(times) // 3 :])}  # the first warm up
    if args.device == "cuda":
        row["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return row
