"""Loaders of training and test images."""

import logging
import os
from collections.abc import Iterable

from detectron2.config import CfgNode
from detectron2.data import (
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.build import worker_init_reset_seed
from detectron2.data.samplers import RepeatFactorTrainingSampler
from torch.utils.data import DataLoader

from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2.utils.errors import InputError

logger = logging.getLogger(__name__)


def build_train_loader(cfg: CfgNode) -> Iterable[list[dict]]:
    """Endless batches of ``SOLVER.IMS_PER_BATCH`` samples of :class:`PanopticDatasetMapper`.

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
    # Detectron2 cannot draw another image when there is none left.
    mapper.damaged_image_limit = min(mapper.damaged_image_limit, len(records) - 1)
    sampler = None
    if cfg.DATALOADER.SAMPLER_TRAIN == "RepeatFactorTrainingSampler":
        if not cfg.DATALOADER.REPEAT_THRESHOLD > 0:
            raise InputError(
                "DATALOADER.SAMPLER_TRAIN RepeatFactorTrainingSampler changes nothing while "
                "REPEAT_THRESHOLD is 0; set it, for instance to 0.1."
            )
        # Detectron2 counts the classes of records of instances.
        of_images = [{"annotations": record["segments_info"]} for record in records]
        sampler = RepeatFactorTrainingSampler(
            RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
                of_images, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
            ),
            seed=cfg.SEED if cfg.SEED >= 0 else None,
        )
    loader = build_detection_train_loader(cfg, dataset=records, mapper=mapper, sampler=sampler)
    # With aspect ratio grouping the loader of the processes is wrapped.
    inner = loader if isinstance(loader, DataLoader) else loader.dataset
    inner.worker_init_fn = leave_process_group
    return loader


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """Single images of a dataset, by :class:`EvaluationMapper`."""
    dataset_metadata(dataset_name)
    mapper = EvaluationMapper(cfg, False)
    loader = build_detection_test_loader(cfg, dataset_name, mapper=mapper)
    loader.worker_init_fn = leave_process_group
    return loader


def leave_process_group(worker_id: int) -> None:
    """Keep signals for the whole group from loader processes: the trainer decides when to stop."""
    worker_init_reset_seed(worker_id)
    if hasattr(os, "setsid"):
        os.setsid()
