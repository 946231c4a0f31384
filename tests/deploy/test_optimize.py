"""The form of a network that only predicts gives what the network gives."""

import pytest
import torch
from detectron2.modeling import build_model
from torch.nn.modules.batchnorm import _BatchNorm

from efficientps_d2.deploy.optimize import optimize_for_inference
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
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    with torch.no_grad():
        for norm in norms:  # statistics that folding must respect
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.7, 1.4)
            norm.weight.uniform_(0.7, 1.4)
            norm.bias.normal_(0, 0.1)
        sizes = [{"image": image}, {"image": image, "height": 75, "width": 131}]
        expected, before = model.eval()(sizes), model.state_dict()
        optimized = optimize_for_inference(model, masks=True)
        found = optimized(sizes)
    assert not [m for m in optimized.modules() if isinstance(m, _BatchNorm)]
    assert model.state_dict().keys() == before.keys(), "the network itself is left as it is"
    for a, b in zip(found, expected, strict=True):
        assert (a["panoptic_seg"][0] == b["panoptic_seg"][0]).float().mean() > 0.99
        assert len(a["instances"]) == len(b["instances"])
        assert a["instances"].pred_masks.shape == b["instances"].pred_masks.shape
        if "sem_seg" in b:
            logits = SemanticLogits.of(a["sem_seg"]).full()
            assert (logits - b["sem_seg"]).abs().max() < 1e-3 * b["sem_seg"].abs().max()


def test_evaluators_and_predictors_have_their_outputs(small_config):
    model = build_model(small_config("efficientps_streets")).eval()
    image = [{"image": torch.zeros(3, 64, 96)}]
    with torch.no_grad():
        for_scores, to_predict = (
            optimize_for_inference(model, masks=masks)(image)[0] for masks in (True, False)
        )
    assert for_scores["instances"].has("pred_masks")
    assert not to_predict["instances"].has("pred_masks")
    assert torch.equal(for_scores["sem_seg"].argmax(dim=0), to_predict["sem_seg"].argmax(dim=0))
