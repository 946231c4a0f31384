"""The form of a network that only predicts gives what the network gives."""

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from efficientps_d2.deploy.optimize import NORMS, optimize_for_inference
from efficientps_d2.modeling.fusion import semantic_logits
from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits

BATCH_NORMS = (
    "MODEL.FPN.NORM",
    "BN",
    "MODEL.SEM_SEG_HEAD.NORM",
    "BN",
    "MODEL.ROI_MASK_HEAD.NORM",
    "BN",
)
FORMS = {
    "efficientps": ["MODEL.EFFICIENTNET.NORM", "BN", *BATCH_NORMS],
    "efficientps, fixed norms": ["MODEL.EFFICIENTNET.NORM", "FrozenBN"],
    "efficientps, official": [
        *("MODEL.EFFICIENTPS.SEPARABLE_FPN", False, "MODEL.EFFICIENTPS.INNER_NORM", True),
        *("MODEL.EFFICIENTNET.NAME", "tf_efficientnet_b0", "MODEL.EFFICIENTNET.NORM", "SyncBN"),
        *BATCH_NORMS,
    ],
    "upsnet": [],
    "panoptic_fpn": [],
    "panoptic_fpn, logits at stride 8": [
        *("MODEL.SEM_SEG_HEAD.IN_FEATURES", ["p3", "p4", "p5"]),
        *("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 8),
    ],
    "panoptic_fpn, ResNet": [
        *("MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", "MODEL.RESNETS.NORM", "FrozenBN"),
        *("MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64),
        *("MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
    ],
    "mask_rcnn": [],
    "lpsnet_style": [],
}


@pytest.mark.parametrize("form", FORMS)
def test_outputs_are_the_same(small_config, form):
    keen = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 20)
    keen += ("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.0)
    torch.manual_seed(0)
    model = build_model(small_config(f"{form.split(',')[0]}_streets", *keen, *FORMS[form]))
    image = torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8)
    norms = [module for module in model.modules() if isinstance(module, NORMS)]
    with torch.no_grad():
        for norm in norms:  # statistics that folding must respect
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.7, 1.4)
            norm.weight.uniform_(0.7, 1.4)
            norm.bias.normal_(0, 0.1)
        sizes = [{"image": image}, {"image": image, "height": 75, "width": 131}]
        expected = model.eval()(sizes)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimized = optimize_for_inference(model.train(), masks=True)
        found = optimized(sizes)
    assert not [m for m in optimized.modules() if isinstance(m, NORMS)]
    weights = [p for p in optimized.parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    after = model.state_dict()
    assert after.keys() == before.keys(), "the network itself is left as it is"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    for a, b in zip(found, expected, strict=True):
        assert (a["panoptic_seg"][0] == b["panoptic_seg"][0]).float().mean() > 0.99
        one, other = a["instances"], b["instances"]
        assert len(one) == len(other)
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-3, atol=1e-3)
        boxes = one.pred_boxes.tensor, other.pred_boxes.tensor
        torch.testing.assert_close(*boxes, rtol=0, atol=0.1)
        assert one.pred_masks.shape == other.pred_masks.shape
        assert (one.pred_masks != other.pred_masks).sum() <= 0.01 * one.pred_masks.numel()
        if "sem_seg" in b:
            logits = SemanticLogits.of(a["sem_seg"]).full()
            assert (logits - b["sem_seg"]).abs().max() < 1e-3 * b["sem_seg"].abs().max()


def test_evaluators_and_predictors_have_their_outputs(small_config, monkeypatch):
    model = build_model(small_config("efficientps_streets")).eval()
    image = [{"image": torch.zeros(3, 64, 96)}]
    with torch.no_grad():
        (for_scores,) = optimize_for_inference(model, masks=True)(image)
        monkeypatch.setattr(semantic_logits, "SMALL", 0)  # as if the image were large
        (to_predict,) = optimize_for_inference(model)(image)
    assert for_scores["instances"].has("pred_masks")
    assert not to_predict["instances"].has("pred_masks")
    assert torch.equal(for_scores["sem_seg"].argmax(dim=0), to_predict["sem_seg"].argmax(dim=0))
    assert for_scores["sem_seg"].stride == 1 and to_predict["sem_seg"].stride == 4


def test_a_compiled_network_gives_the_same(small_config):
    """Here it is not really compiled, which takes minutes."""
    model = build_model(small_config("efficientps_streets")).eval()
    image = [{"image": torch.rand(3, 64, 96) * 255}]
    compiled = optimize_for_inference(model, compiled=True)
    assert compiled.backbone._compiled_call_impl and not model.backbone._compiled_call_impl
    assert hasattr(compiled.sem_seg_head.layers, "_torchdynamo_orig_callable")
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        found, expected = compiled(image)[0], optimize_for_inference(model)(image)[0]
    assert torch.equal(found["panoptic_seg"][0], expected["panoptic_seg"][0])


def test_other_sizes_need_no_logits_of_all_pixels(small_config, monkeypatch):
    monkeypatch.setattr(semantic_logits, "SMALL", 0)
    model = optimize_for_inference(build_model(small_config("efficientps_streets")))
    image = {"image": torch.zeros(3, 64, 96), "height": 200, "width": 300}
    with torch.no_grad():
        (output,) = model([image])
    assert output["sem_seg"].source.shape[1:] == (16, 24)
    assert output["sem_seg"].shape[1:] == output["panoptic_seg"][0].shape == (200, 300)


class WithoutLayers(nn.Module):
    """A semantic head that can only be called."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head

    def forward(self, features, targets=None):
        return self.head(features, targets)


def test_heads_that_have_no_layers_are_called(small_config):
    model = build_model(small_config("efficientps_streets"))
    model.sem_seg_head = WithoutLayers(model.sem_seg_head)
    with torch.no_grad():
        (output,) = optimize_for_inference(model)([{"image": torch.zeros(3, 64, 96)}])
    assert isinstance(output["sem_seg"], torch.Tensor)
