"""Loaders of training and test images."""

import logging
import os

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, get_detection_dataset_dicts
from detectron2.data.build import worker_init_reset_seed
from detectron2.data.samplers import (
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from torch.utils.data import DataLoader, Sampler

from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2.data.training_order import TrainingBatches, TrainingSamples

logger = logging.getLogger(__name__)


def build_train_loader(cfg: CfgNode) -> DataLoader:
    """Endless batches of ``SOLVER.IMS_PER_BATCH`` samples of :class:`PanopticDatasetMapper`.

    The same ``SEED``, which must not be negative, gives the same batches, from any iteration
    on: see :class:`TrainingBatches`, whose ``start_iteration`` is the first. With
    ``DATALOADER.ASPECT_RATIO_GROUPING`` a batch of all processes holds images that are all wider
    than high, or none.

    With ``DATALOADER.SAMPLER_TRAIN "RepeatFactorTrainingSampler"``, images with a class that is in
    less than ``DATALOADER.REPEAT_THRESHOLD`` of all images are drawn more often, as in LVIS: by the
    root of the threshold over that share. Stuff counts as things do.
    """
    for name in cfg.DATASETS.TRAIN:
        dataset_metadata(name)  # registers datasets in folders
    records = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    )
    logger.info("Training on %d images of %s.", len(records), ", ".join(cfg.DATASETS.TRAIN))
    mapper = PanopticDatasetMapper(cfg)
    # No other image can be drawn when there is none left.
    mapper.damaged_image_limit = min(mapper.damaged_image_limit, len(records) - 1)
    sampler = _training_sampler(cfg, records)
    groups = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        # Those of Cityscapes and COCO lack the size and are one group.
        groups = [record.get("width", 0) > record.get("height", 0) for record in records]
    return DataLoader(
        TrainingSamples(records, mapper, cfg.SEED),
        batch_sampler=TrainingBatches(sampler, cfg.SOLVER.IMS_PER_BATCH, groups),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=list,
        worker_init_fn=leave_process_group,
        generator=torch.Generator(),  # or each start would draw from the numbers of the model
    )


def _training_sampler(cfg: CfgNode, records: list[dict]) -> Sampler[int]:
    """Detectron2's sampler of that name, seeded by ``SEED``."""
    data, name = cfg.DATALOADER, cfg.DATALOADER.SAMPLER_TRAIN
    if name == "TrainingSampler":
        return TrainingSampler(len(records), seed=cfg.SEED)
    if name == "RandomSubsetTrainingSampler":
        return RandomSubsetTrainingSampler(
            len(records), data.RANDOM_SUBSET_RATIO, seed_shuffle=cfg.SEED, seed_subset=cfg.SEED
        )
    # Detectron2 counts the classes of records of instances.
    of_images = [{"annotations": record["segments_info"]} for record in records]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
        of_images, data.REPEAT_THRESHOLD, sqrt=data.REPEAT_SQRT
    )
    return RepeatFactorTrainingSampler(factors, seed=cfg.SEED)


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """Single images of a dataset, by :class:`EvaluationMapper`."""
    dataset_metadata(dataset_name)
    mapper = EvaluationMapper(cfg)
    loader = build_detection_test_loader(cfg, dataset_name, mapper=mapper)
    loader.worker_init_fn = leave_process_group
    return loader


def leave_process_group(worker_id: int) -> None:
    """Keep signals for the whole group from loader processes: the trainer decides when to stop."""
    worker_init_reset_seed(worker_id)
    if hasattr(os, "setsid"):
        os.setsid()
