"""What networks cost: parameters, multiply-adds, time and memory, measured side by side."""

import itertools
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog
from detectron2.utils.events import EventStorage
from tqdm import tqdm
from turns import peak

from efficientps_d2.checkpoint.weights_file import read_weights
from efficientps_d2.config.building import build_network
from efficientps_d2.config.loading import load_config, without_cuda
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper
from efficientps_d2.data.training_order import seed_all
from efficientps_d2.deploy.size import analyze
from efficientps_d2.engine.optimizer import build_optimizer
from efficientps_d2.engine.step_trainer import StepTrainer

IMAGES = 5
ROUNDS = 7


class Trained:
    """A network of a run, with what it predicts and learns from."""

    def __init__(self, folder: Path):
        cfg = without_cuda(load_config(str(folder / "config.yaml")))
        cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
        self.cfg = cfg = with_class_counts(cfg)
        self.model = build_network(cfg)
        self.model.load_state_dict(read_weights(folder / "model_final.pth")["model"])
        mapper = EvaluationMapper(cfg)
        records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
        self.images = [mapper(record) for record in records[:IMAGES]]
        seed_all(0)  # the same crops for all networks
        mapper = PanopticDatasetMapper(cfg)
        records = DatasetCatalog.get(cfg.DATASETS.TRAIN[0])
        self.batch = [mapper(record) for record in records[: cfg.SOLVER.IMS_PER_BATCH]]
        batches, optimizer = itertools.repeat(self.batch), build_optimizer(cfg, self.model)
        self.trainer = StepTrainer.of_config(cfg, self.model, batches, optimizer)

    def sizes(self) -> dict[str, float]:
        """Millions of parameters; 1e9 multiply-adds for the first image."""
        parts = analyze(self.model.eval(), self.cfg, *self.images[0]["image"].shape[1:])
        parameters = sum(p.numel() for p in self.model.parameters())
        return {"parameters": parameters / 1e6, "multiply-adds": sum(p[2] for p in parts) / 1e9}

    @torch.no_grad()
    def predict(self) -> float:
        """Milliseconds for an image, from pixels to panoptic map."""
        self.model.eval()
        start = time.perf_counter()
        for image in self.images:
            self.model([image])
        return 1000 * (time.perf_counter() - start) / len(self.images)

    def step(self) -> float:
        """Milliseconds for a training step."""
        self.model.train()
        self.trainer.iter = 0
        start = time.perf_counter()
        with EventStorage():
            self.trainer.run_step()
        seconds = time.perf_counter() - start
        self.trainer.optimizer.zero_grad()  # whose memory is that of the next step
        return 1000 * seconds


def costs(folders: dict[str, Path], rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Costs of each row; times are medians over rounds in which each network has its turn.

    Args:
        folders: of a finished run on the same dataset, by row.
        rounds: how often each is timed, after one round that is not counted.
    """
    found = {}
    for row, folder in tqdm(folders.items(), desc="memory", unit="network"):
        found[row] = {name: _memory(folder, name) for name in ("predict", "step")}
    trained = {row: Trained(folder) for row, folder in folders.items()}
    times = {row: {"predict": [], "step": []} for row in trained}
    for name in ("predict", "step"):
        for _ in tqdm(range(rounds + 1), desc=f"timing of {name}", unit="round"):
            for row, network in trained.items():
                times[row][name].append(getattr(network, name)())
    return {
        row: {
            **network.sizes(),
            "ms for an image": float(np.median(times[row]["predict"][1:])),
            "ms for a step": float(np.median(times[row]["step"][1:])),
            "MB for an image": found[row]["predict"],
            "MB for a step": found[row]["step"],
        }
        for row, network in trained.items()
    }


def _memory(folder: Path, name: str) -> float:
    """Megabytes that a process of its own needs, besides weights and the optimizer's state."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(_load, folder).result()
        pool.submit(_call, name).result()  # makes the state
        return peak(pool, _call, name)


def _load(folder: Path) -> None:
    global _trained
    _trained = Trained(folder)


def _call(name: str) -> None:
    getattr(_trained, name)()
