"""Weights of one dataset as the start for another, and runs in a used folder."""

import logging
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from scenes import write_dataset

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.checkpointer import (
    FittingCheckpointer,
    load_trained_model,
)
from efficientps_d2.checkpoint.weights_address import require_file
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.engine.trainer import Trainer

HEADS = (
    "sem_seg_head.predictor",
    "roi_heads.box_predictor.cls_score",
    "roi_heads.box_predictor.bbox_pred",
    "roi_heads.mask_head.predictor",
)


def test_finetuning_starts_heads_anew_and_names_them(toy, tmp_path, register, tiny_config, caplog):
    """Here three thing and three stuff classes after two and two."""
    torch.manual_seed(0)
    old = build_model(with_class_counts(tiny_config(toy)))
    torch.save({"model": old.state_dict(), "iteration": 900}, tmp_path / "old.pth")

    folder = write_dataset(tmp_path / "more", more_classes=["water", "dog*"])
    other = register("more_classes", folder)
    new = build_model(with_class_counts(tiny_config(other)))
    before = {k: v.clone() for k, v in new.state_dict().items()}
    with caplog.at_level("WARNING"):
        FittingCheckpointer(new).load(str(tmp_path / "old.pth"))

    for name, tensor in new.state_dict().items():
        if name.startswith(HEADS):
            assert torch.equal(tensor, before[name]) and name in caplog.text
        else:
            assert torch.equal(tensor, old.state_dict()[name]) and name not in caplog.text


def test_tensors_that_do_not_fit_are_counted_once(toy, tmp_path, tiny_config):
    cfg = with_class_counts(tiny_config(toy))
    state = build_model(cfg).state_dict()
    name = "sem_seg_head.predictor.weight"
    state[name] = state[name][:1]
    del state["sem_seg_head.predictor.bias"]
    torch.save({"model": state}, tmp_path / "old.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "old.pth")
    with pytest.raises(InputError) as error:
        load_trained_model(cfg)
    assert f"{name} has another shape in it (2 of {len(state) + 1} tensors)" in str(error.value)


def test_batch_norms_are_not_taken_for_group_norms(toy, tmp_path, tiny_config):
    """Though their scales and biases have the names and shapes of those."""
    batch_norms = ("MODEL.FPN.NORM", "BN", "MODEL.SEM_SEG_HEAD.NORM", "BN")
    earlier = build_model(with_class_counts(tiny_config(toy, *batch_norms)))
    torch.save({"model": earlier.state_dict()}, tmp_path / "earlier.pth")
    cfg = with_class_counts(tiny_config(toy))
    cfg.MODEL.WEIGHTS = str(tmp_path / "earlier.pth")
    with pytest.raises(InputError, match="it has .*running_mean, so its network has other norms"):
        load_trained_model(cfg)


@pytest.mark.parametrize("linear", [True, False])
def test_weights_of_the_other_pyramid_are_refused(toy, tmp_path, tiny_config, caplog, linear):
    """They have the same names and shapes, and give another network."""
    key = "MODEL.EFFICIENTPS.LINEAR_FPN"
    model = build_model(with_class_counts(tiny_config(toy, key, linear)))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    weights = ("MODEL.WEIGHTS", str(tmp_path / "model.pth"))
    load_trained_model(with_class_counts(tiny_config(toy, *weights, key, linear)))
    with pytest.raises(InputError, match=f"LeakyReLU; set {key} {linear}\\."):
        load_trained_model(with_class_counts(tiny_config(toy, *weights, key, not linear)))
    other = build_model(with_class_counts(tiny_config(toy, key, not linear)))
    with caplog.at_level("WARNING"):
        FittingCheckpointer(other).load(str(tmp_path / "model.pth"))  # as finetuning does
    assert f"LeakyReLU; set {key} {linear} to keep that" in caplog.text


def test_weights_of_a_backbone_alone_are_of_no_pyramid(toy, tmp_path, tiny_config, caplog):
    model = build_model(with_class_counts(tiny_config(toy, "MODEL.EFFICIENTPS.LINEAR_FPN", True)))
    weights = {k: v for k, v in model.state_dict().items() if "bottom_up." in k}
    torch.save({"model": weights}, tmp_path / "backbone.pth")
    with caplog.at_level("WARNING"):
        FittingCheckpointer(model).load(str(tmp_path / "backbone.pth"))
    assert "LINEAR_FPN" not in caplog.text


def raise_interrupt(_):
    raise KeyboardInterrupt


def test_a_run_over_another_one_is_told(toy, tiny_config, caplog, monkeypatch):
    """And no table of the other is left, which could be taken for its own."""
    cfg = tiny_config(toy, "SOLVER.MAX_ITER", 1, "SOLVER.STEPS", ())
    output = Path(cfg.OUTPUT_DIR)
    output.mkdir()
    for name in ("last_checkpoint", "results.md", "model_best.pth"):
        (output / name).write_text("of an earlier run")
    interrupted, trainer = Trainer(cfg), Trainer(cfg)
    monkeypatch.setattr(Trainer, "test", lambda *_: {})
    with caplog.at_level(logging.WARNING, logger="efficientps_d2"):
        interrupted.resume_or_load(resume=False)
    assert "that --resume would continue" in caplog.text
    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as context:
        context.setattr(Trainer, "run_step", raise_interrupt)
        interrupted.train()
    assert not (output / "last_checkpoint").exists(), "which --resume would take for its own"
    trainer.train()
    assert (output / "model_final.pth").is_file() and not (output / "results.md").exists()
    assert not (output / "model_best.pth").exists()


@pytest.mark.parametrize(
    "address", ["foo://x", "catalog://nothing", "http://127.0.0.1:9/x.pth", "http://[/x"]
)
def test_an_address_that_gives_nothing_is_one_sentence(address):
    with pytest.raises(InputError, match="cannot be fetched .*; check the address") as error:
        require_file(address)
    assert "\n" not in str(error.value)
