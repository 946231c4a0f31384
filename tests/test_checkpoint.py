"""Finetuning: weights of one data set as the start for another."""

import torch
from conftest import write_dataset
from detectron2.modeling import build_model

from efficientps_d2.checkpoint import FittingCheckpointer
from efficientps_d2.classes import with_class_counts

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
