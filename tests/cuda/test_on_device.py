"""What ``make cuda`` tests on a GPU, which TEST_DEVICE names; "cpu" tries the tests themselves."""

import copy
import os

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from fusion_cases import cases
from hypothesis import given, settings
from project import flat_weights

from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper
from efficientps_d2.deploy.compare import check_file
from efficientps_d2.deploy.export import SUFFIXES, export_model
from efficientps_d2.deploy.optimize import optimize_for_inference
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2.modeling.fusion.adaptive import adaptive_panoptic_fusion
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA

DEVICE = os.environ["TEST_DEVICE"]
NETWORKS = ("efficientps", "panoptic_fpn", "upsnet", "mask_rcnn", "lpsnet_style")
KEEN = (
    *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 20),
    *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.0),
)


@pytest.fixture(autouse=True)
def exact():
    """No TF32, whose products have ten bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def networks(small_config):
    """A function: a network on the CPU and its copy on the device."""

    def networks(name: str, *overrides):
        torch.manual_seed(0)
        model = build_model(small_config(f"{name}_streets", *KEEN, *overrides))
        return model, copy.deepcopy(model).to(DEVICE)

    return networks


@settings(max_examples=30)
@given(cases())
def test_fusion(case):
    instances, logits, options = case
    expected, segments = adaptive_panoptic_fusion(instances, logits, **options)
    found, others = adaptive_panoptic_fusion(instances.to(DEVICE), logits.to(DEVICE), **options)
    assert found.device.type == torch.device(DEVICE).type
    # A logit that is 0 up to rounding may fall on the other side.
    assert (found.cpu() == expected).float().mean() > 0.99
    assert [s["category_id"] for s in others] == [s["category_id"] for s in segments]


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_and_gradients(networks, small_config, toy, name):
    cfg = small_config(f"{name}_streets", "INPUT.CROP.SIZE", (64, 96))
    inputs = [PanopticDatasetMapper(cfg)(record) for record in DatasetCatalog.get(toy)[:2]]
    found = []
    for model in networks(name):
        with EventStorage():
            losses = model.train()(inputs)
        sum(losses.values()).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients and all(gradient.isfinite().all() for gradient in gradients)
        assert {loss.device for loss in losses.values()} == {model.device}
        # The other losses are of boxes that are drawn at random.
        found.append(losses.get("loss_sem_seg", torch.zeros(())).cpu())
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_inference(networks, toy, small_config, name, optimized):
    inputs = [EvaluationMapper(small_config(f"{name}_streets"))(DatasetCatalog.get(toy)[0])]
    outputs = []
    for model in networks(name):
        model = optimize_for_inference(model) if optimized else model.eval()
        with torch.no_grad():
            outputs.append(model(inputs)[0])
    (expected, segments), (found, others) = (output["panoptic_seg"] for output in outputs)
    assert (found.cpu() == expected).float().mean() > 0.98
    assert abs(len(segments) - len(others)) <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision(networks, toy, small_config, dtype):
    cfg = small_config("efficientps_streets")
    inputs = [EvaluationMapper(cfg)(DatasetCatalog.get(toy)[0])]
    _, model = networks("efficientps")
    with torch.no_grad(), torch.autocast(torch.device(DEVICE).type, dtype):
        (output,) = optimize_for_inference(model)(inputs)
    assert output["panoptic_seg"][0].shape == (96, 160)
    assert output["sem_seg"].full().isfinite().all()


def test_test_time_augmentation(networks, toy, small_config):
    cfg = small_config("efficientps_streets", *KEEN, "TEST.AUG.SCALES", (1.0, 1.5))
    inputs = [EvaluationMapper(cfg)(DatasetCatalog.get(toy)[0])]
    found = []
    for model in networks("efficientps"):
        with torch.no_grad():
            found.append(PanopticTTA.of_config(cfg, model.eval())(inputs)[0]["panoptic_seg"][0])
    assert (found[1].cpu() == found[0]).float().mean() > 0.98


def test_a_training_saves_and_resumes(toy, tiny_config):
    cfg = tiny_config(toy, "SOLVER.MAX_ITER", 2, "SOLVER.EMA_DECAY", 0.9, "MODEL.DEVICE", DEVICE)
    trainer = Trainer(cfg)
    trainer.train()
    again = Trainer(cfg)
    again.resume_or_load(resume=True)
    assert again.start_iter == 2
    torch.testing.assert_close(flat_weights(again.model), flat_weights(trainer.model))


def test_export(networks, tmp_path):
    """Of a network that was on the device; files are made on the CPU."""
    _, model = networks("efficientps")
    model, path = model.cpu().eval(), tmp_path / f"model{SUFFIXES['torchscript']}"
    export_model(model, "torchscript", path)
    assert [d for d in check_file(model, "torchscript", path, ((1, 2, 4),)) if not d.within] == []
