"""The ResNets of UPSNet's paper: deformable stages, and context in the pyramid."""

import pytest
import torch
from detectron2.modeling import build_backbone
from project import CONFIGS
from torch.nn import functional as F

from efficientps_d2 import InputError
from efficientps_d2.config.loading import load_config
from efficientps_d2.modeling.backbone.resnet import make_deformable
from efficientps_d2.modeling.deformable import DeformConv2d


def backbone(name: str, *overrides):
    torch.manual_seed(0)
    return build_backbone(load_config(str(CONFIGS / name), list(overrides))).eval()


def test_a_stage_keeps_its_weights_when_it_becomes_deformable():
    stage = backbone("upsnet_r50_coco.yaml").bottom_up.res4
    before = [block.conv2.weight for block in stage]
    make_deformable(stage)
    assert all(block.conv2.weight is weight for block, weight in zip(stage, before, strict=True))
    assert all(isinstance(block.conv2, DeformConv2d) for block in stage)


def test_the_deformable_backbone_takes_weights_of_a_plain_one():
    plain, deformable = backbone("upsnet_r50_coco.yaml"), backbone("upsnet_r101_dcn_coco.yaml",
        "MODEL.RESNETS.DEPTH", 50)  # fmt: skip
    missing, unexpected = deformable.load_state_dict(plain.state_dict(), strict=False)
    stages = {name.split(".")[1] for name in missing}
    assert unexpected == [] and stages == {"res3", "res4", "res5"}
    assert all(".conv2.offset." in name for name in missing) and len(missing) == 2 * 13
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = plain(x), deformable(x)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-3)


def test_shallow_networks_have_no_deformable_stages():
    with pytest.raises(InputError, match="DEFORM_ON_PER_STAGE needs DEPTH 50 or more"):
        backbone("upsnet_r101_dcn_coco.yaml", "MODEL.RESNETS.DEPTH", 34)


def test_context_is_added_to_the_coarsest_lateral():
    without = backbone("upsnet_r50_coco.yaml", "MODEL.FPN.GLOBAL_CONTEXT", "False")
    with_context = backbone("upsnet_r50_coco.yaml")
    with_context.load_state_dict(without.state_dict(), strict=False)
    lateral = with_context.fpn_lateral5
    x = torch.rand(1, 2048, 2, 3)
    context = F.linear(x.mean(dim=(2, 3)), lateral.context.weight, lateral.context.bias)
    expected = without.fpn_lateral5(x) + context[:, :, None, None]
    torch.testing.assert_close(lateral(x), expected)
    assert with_context.lateral_convs[0] is lateral
