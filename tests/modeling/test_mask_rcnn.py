"""Mask R-CNN in the frame of panoptic networks: what it gives, and what it says it cannot."""

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from training_samples import sample

from efficientps_d2 import InputError, load_predictor, save_model
from efficientps_d2.deploy.export import export_model
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA
from efficientps_d2.prediction.layers import prediction_layers
from efficientps_d2.prediction.painter import PredictionPainter


@pytest.fixture
def mask_rcnn_config(small_config, tmp_path) -> CfgNode:
    return small_config(
        "mask_rcnn_streets",
        *("OUTPUT_DIR", str(tmp_path / "run"), "DATALOADER.NUM_WORKERS", 0),
        *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0),
        *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.0),
    )


@pytest.fixture
def mask_rcnn(mask_rcnn_config):
    torch.manual_seed(0)
    return build_model(mask_rcnn_config).eval()


def test_losses_are_those_of_instances(mask_rcnn):
    with EventStorage():
        losses = mask_rcnn.train()([sample(64, 96, [[5, 5, 40, 40]], [1])])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}
    sum(losses.values()).backward()
    assert [name for name, p in mask_rcnn.named_parameters() if p.grad is None] == []


def test_panoptic_output_has_things_only(mask_rcnn):
    with torch.no_grad():
        (output,) = mask_rcnn([{"image": torch.full((3, 64, 96), 99), "height": 50, "width": 80}])
    panoptic_seg, segments = output["panoptic_seg"]
    assert "sem_seg" not in output and panoptic_seg.shape == (50, 80)
    assert segments and all(s["isthing"] and s["category_id"] in (2, 3) for s in segments)
    masks = output["instances"].pred_masks
    for segment in segments:
        assert masks[segment["instance_id"]][panoptic_seg == segment["id"]].all()
    assert (panoptic_seg[~masks.any(dim=0)] == 0).all()


@pytest.mark.parametrize("method", ["adaptive", "log_odds", "upsnet"])
def test_fusions_that_need_semantic_logits_are_refused(mask_rcnn_config, method):
    mask_rcnn_config.MODEL.PANOPTIC_FPN.COMBINE.METHOD = method
    with pytest.raises(InputError, match=f"METHOD is {method}, .* MaskRCNN lacks; give heuristic"):
        build_model(mask_rcnn_config)


def test_a_fusion_that_does_not_exist_is_said(mask_rcnn_config):
    mask_rcnn_config.MODEL.PANOPTIC_FPN.COMBINE.METHOD = "heuristik"
    with pytest.raises(InputError, match="METHOD is 'heuristik'; use one of"):
        build_model(mask_rcnn_config)


def test_evaluation_has_no_miou(mask_rcnn_config, mask_rcnn):
    results = Trainer.test(mask_rcnn_config, mask_rcnn)
    assert {"panoptic_seg", "segm", "bbox"} <= set(results) and "sem_seg" not in results
    assert results["panoptic_seg"]["PQ_st"] == 0


def test_augmentation_keeps_the_form_of_the_output(mask_rcnn_config, mask_rcnn):
    mask_rcnn_config.TEST.AUG.SCALES = (1.0, 1.5)
    augmented = PanopticTTA.of_config(mask_rcnn_config, mask_rcnn)
    with torch.no_grad():
        (output,) = augmented([{"image": torch.full((3, 64, 96), 99, dtype=torch.uint8)}])
    assert set(output) == {"instances", "panoptic_seg"} and len(output["instances"])


def test_prediction_has_no_semantic_layer(mask_rcnn_config, mask_rcnn, toy, tmp_path):
    metadata = MetadataCatalog.get(toy)
    folder = save_model(tmp_path / "model", mask_rcnn, mask_rcnn_config, metadata)
    predictor = load_predictor(folder, "cpu")
    image = np.full((64, 96, 3), 99, dtype=np.uint8)
    prediction = predictor(image, logits=True)
    assert prediction.sem_seg is None and prediction.segments
    assert set(prediction_layers(prediction, metadata, 0.0)) == {"panoptic", "instance"}
    painter = PredictionPainter(metadata)
    height, width, _ = painter.draw(image, prediction, "all").shape
    assert 1.3 < height / width < 1.5, "two images of 3 : 2, one above the other"
    with pytest.raises(InputError, match="no semantic head; give --task panoptic, instance or all"):
        painter.draw(image, prediction, "semantic")


def test_what_it_cannot_is_said(mask_rcnn, tmp_path):
    with pytest.raises(InputError, match="MaskRCNN cannot be exported: .* semantic logits"):
        export_model(mask_rcnn, "onnx_dense", tmp_path / "x.onnx")
