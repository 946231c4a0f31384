"""With the model on CUDA, no part of it meets a tensor that was left on the CPU."""

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from pretended_cuda import CUDA, move, pretended_cuda

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA

FEW = ("TEST.DETECTIONS_PER_IMAGE", 3, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0)
KEEN = ("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.0)


@pytest.fixture
def config(toy, tiny_config):
    return lambda *more: with_class_counts(tiny_config(toy, *FEW, *KEEN, *more))


def test_the_pretence_refuses_a_mixture():
    with pretended_cuda(), pytest.raises(RuntimeError, match="add meets tensors on CUDA and on"):
        torch.ones(3, device=CUDA) + torch.arange(3)


NETWORKS = {  # and the number of their losses
    "efficientps_streets": 6,
    "panoptic_fpn_streets": 6,
    "upsnet_streets": 8,
    "mask_rcnn_streets": 5,
    "lpsnet_style_streets": 3,
}


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_training(small_config, toy, name, amp):
    cfg = small_config(name, "MODEL.UPSNET.ROI_LOSS_WEIGHT", 0.04, "INPUT.CROP.SIZE", (64, 96))
    mapper = PanopticDatasetMapper(cfg)
    inputs = [mapper(record) for record in DatasetCatalog.get(toy)[:2]]
    model = move(build_model(cfg))
    # Without gradients: those of PyTorch itself would want a GPU.
    with EventStorage(), pretended_cuda(amp), torch.no_grad():
        losses = model(inputs)
    assert len(losses) == NETWORKS[name] and {loss.device for loss in losses.values()} == {CUDA}
    assert all(loss.held.isfinite() for loss in losses.values())
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


@pytest.mark.parametrize("method", ["adaptive", "heuristic", "log_odds", "upsnet"])
@pytest.mark.parametrize("augmented", [False, True])
def test_inference(config, toy, method, augmented):
    cfg = config("MODEL.PANOPTIC_FPN.COMBINE.METHOD", method, "TEST.AUG.SCALES", (1.0,))
    inputs = [EvaluationMapper(cfg)(DatasetCatalog.get(toy)[0])]
    model = move(build_model(cfg).eval())
    predict = PanopticTTA.of_config(cfg, model) if augmented else model
    with pretended_cuda(), torch.no_grad():
        (output,) = predict(inputs)
    pan_seg, segments = output["panoptic_seg"]
    instances = output["instances"]
    assert len(instances) == 3 and segments
    assert all(type(segment["isthing"]) is bool for segment in segments)
    assert pan_seg.device == output["sem_seg"].device == CUDA
    assert instances.pred_boxes.device == instances.pred_masks.device == CUDA


@pytest.mark.parametrize("name", ["mask_rcnn_streets", "lpsnet_style_streets"])
def test_inference_of_other_networks(small_config, toy, name):
    cfg = small_config(name, *FEW, *KEEN)
    inputs = [EvaluationMapper(cfg)(DatasetCatalog.get(toy)[0])]
    model = move(build_model(cfg).eval())
    with pretended_cuda(), torch.no_grad():
        (output,) = model(inputs)
    assert output["panoptic_seg"][0].device == output["instances"].pred_boxes.device == CUDA
    assert len(output["instances"])
