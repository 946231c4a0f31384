"""A training and an evaluation in two processes are those of one."""

import json
import logging
import os
import subprocess
import sys
from argparse import Namespace
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from forked_commands import Command
from processes import in_two_processes
from project import ROOT
from scenes import write_dataset

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.loaders import build_train_loader
from efficientps_d2.engine.launch import _number_of_processes
from efficientps_d2.engine.logs import _is_no_dump
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2_runtime.errors import InputError


@pytest.fixture
def config(tmp_path, register, tiny_config):
    def config(*overrides):
        name = register("four", write_dataset(tmp_path / "four", count=4))
        keys = ("SEED", 3, "INPUT.CROP.ENABLED", False, "INPUT.SCALE_JITTER", (1.0, 1.0))
        keys += ("SOLVER.IMS_PER_BATCH", 2)
        # As many pixels and objects of each image, over which losses are averaged.
        keys += ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 8)
        return with_class_counts(tiny_config(name, *keys, *overrides))

    return config


def gradients(_rank: int, cfg) -> tuple[list[str], np.ndarray]:
    """The images of the first batch, and the gradient of all weights without random boxes."""
    torch.manual_seed(0)
    trainer = Trainer(cfg)
    batch = next(iter(trainer.data_loader))
    with EventStorage(), patch("torch.randperm", lambda n, **options: torch.arange(n)):
        sum(trainer.model(batch).values()).backward()
    flat = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    return [sample["image_id"] for sample in batch], torch.cat(flat).numpy()


def test_gradients_of_two_processes_are_those_of_one(config, tmp_path):
    cfg = config()
    images, expected = gradients(0, cfg)
    datasets = {"four": tmp_path / "four"}
    first, second = in_two_processes(gradients, tmp_path, cfg, datasets=datasets)
    assert isinstance(first, tuple), first
    assert [*first[0], *second[0]] == images
    assert (first[1] == second[1]).all() and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(first[1], expected, rtol=0, atol=1e-5)


def draws(_rank: int, cfg) -> list[list[str]]:
    """The images of the first batches."""
    batches = islice(build_train_loader(cfg), 5)
    return [[sample["image_id"] for sample in batch] for batch in batches]


def test_each_batch_is_shared_out(config, tmp_path):
    cfg = config("SOLVER.IMS_PER_BATCH", 4)
    whole = draws(0, cfg)
    parts = in_two_processes(draws, tmp_path, cfg, datasets={"four": tmp_path / "four"})
    assert [b for b in zip(*parts, strict=True)] == [(b[::2], b[1::2]) for b in whole]


def test_a_training_in_two_processes_is_evaluated_like_one(tmp_path):
    root = tmp_path / "datasets"
    (root / "toy").mkdir(parents=True)
    write_dataset(root / "toy" / "train")
    keys = [
        *("MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.FPN.OUT_CHANNELS", "16"),
        *("MODEL.SEM_SEG_HEAD.CONVS_DIM", "16", "MODEL.ROI_BOX_HEAD.FC_DIM", "32"),
        *("MODEL.ROI_MASK_HEAD.CONV_DIM", "16", "INPUT.CROP.SIZE", "(64, 96)"),
        *("DATASETS.TRAIN", "('toy_train',)", "DATASETS.TEST", "('toy_train',)"),
        *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "0"),
        *("DATALOADER.NUM_WORKERS", "0", "TEST.PICTURES", "0"),
        *("MODEL.EFFICIENTNET.NORM", "BN"),  # whose statistics each process has its own of
    ]

    def metrics(folder: Path) -> dict:
        *_, last = (folder / "metrics.json").read_text().splitlines()
        return {k: v for k, v in json.loads(last).items() if k.startswith(("pan", "bbox", "sem"))}

    flags = ["--config-file", "efficientps_streets", "--num-processes"]
    command = [sys.executable, "-m", "efficientps_d2", "train", *flags, "2", *keys]
    env = {**os.environ, "DETECTRON2_DATASETS": str(root)}
    run = tmp_path / "run"
    done = subprocess.run(
        [*command, "OUTPUT_DIR", str(run)], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    keys += ["MODEL.WEIGHTS", run / "model_final.pth", "OUTPUT_DIR", tmp_path / "evaluation"]
    again = Command(
        ["evaluate", *flags, 1, *keys],
        *(tmp_path / "evaluation.txt", ROOT, {"DETECTRON2_DATASETS": str(root)}),
    )
    assert again.wait() == 0, again.text()[-2000:]
    trained, alone = metrics(run), metrics(tmp_path / "evaluation")
    assert len(trained) > 10 and json.dumps(alone) == json.dumps(trained)


def test_the_number_of_processes(monkeypatch):
    def number(gpus: int, **flags) -> int:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        return _number_of_processes(Namespace(**{"num_gpus": 1, "num_processes": 0, **flags}))

    assert number(0) == number(0, num_gpus=8) == 1
    assert number(0, num_processes=2) == number(4, num_gpus=2) == 2
    assert number(4, num_gpus=2, num_processes=2) == 2
    with pytest.raises(InputError, match="--num-processes 2 is for CPUs; on CUDA give --num-gpus"):
        number(4, num_processes=2)
    with pytest.raises(InputError, match="--num-gpus is 8, but there are 4; give fewer"):
        number(4, num_gpus=8)


def test_the_traceback_of_a_process_that_lost_another_is_only_in_the_log():
    error = RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]")
    for message, shown in ((error, False), (RuntimeError("out of memory"), True)):
        record = logging.LogRecord("d", logging.ERROR, "", 0, "", (), (None, message, None))
        assert _is_no_dump(record) is shown
