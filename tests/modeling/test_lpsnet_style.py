"""The one-stage network: its boxes, its losses, and its outputs."""

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from training_samples import sample

from efficientps_d2 import InputError
from efficientps_d2.deploy.export import export_model
from efficientps_d2.modeling.instance_heads.dense_boxes import (
    NOBODY,
    dense_box_losses,
    true_centerness,
)
from efficientps_d2.modeling.meta_arch.lpsnet import owners_of_cells
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA


@pytest.fixture
def lpsnet_config(small_config) -> CfgNode:
    return small_config("lpsnet_style_streets")


@pytest.fixture
def lpsnet(lpsnet_config):
    torch.manual_seed(0)
    return build_model(lpsnet_config)


def losses_of(model, data) -> dict[str, torch.Tensor]:
    with EventStorage():
        return model.train()(data)


def test_every_parameter_gets_a_gradient(lpsnet):
    data = [sample(64, 96, [[5, 5, 40, 40], [50, 20, 90, 60]], [0, 1]), sample(60, 70, [], [])]
    losses = losses_of(lpsnet, data)
    assert set(losses) == {"loss_sem_seg", "loss_box_reg", "loss_centerness"}
    sum(losses.values()).backward()
    assert [name for name, p in lpsnet.named_parameters() if p.grad is None] == []


def test_no_instance_has_no_box_loss(lpsnet):
    losses = losses_of(lpsnet, [sample(64, 96, [], [])])
    assert losses["loss_box_reg"] == 0 and losses["loss_centerness"] == 0
    sum(losses.values()).backward()


def test_crowds_are_no_instances(lpsnet):
    boxes = [[5, 5, 40, 40], [50, 20, 90, 60]]
    data = [sample(64, 96, boxes, [0, -1])]
    alone = [{**data[0], "instances": data[0]["instances"][:1]}]
    found, expected = losses_of(lpsnet, data), losses_of(lpsnet, alone)
    torch.testing.assert_close(found, expected)


def test_losses_have_weights(small_config, lpsnet):
    keys = ("MODEL.LPSNET.BOX_LOSS_WEIGHT", 3.0, "MODEL.LPSNET.CENTERNESS_LOSS_WEIGHT", 5.0)
    weighted = build_model(small_config("lpsnet_style_streets", *keys))
    weighted.load_state_dict(lpsnet.state_dict())
    data = [sample(64, 96, [[5, 5, 40, 40]], [0])]
    one, other = losses_of(lpsnet, data), losses_of(weighted, data)
    torch.testing.assert_close(other["loss_box_reg"], 3 * one["loss_box_reg"])
    torch.testing.assert_close(other["loss_centerness"], 5 * one["loss_centerness"])
    torch.testing.assert_close(other["loss_sem_seg"], one["loss_sem_seg"])


def test_thresholds_reach_the_merge(small_config):
    combine = "MODEL.PANOPTIC_FPN.COMBINE"
    keys = ("MODEL.LPSNET.JOIN_THRESH", 0.12, f"{combine}.INSTANCES_CONFIDENCE_THRESH", 0.34)
    keys += (f"{combine}.STUFF_AREA_LIMIT", 56, "TEST.DETECTIONS_PER_IMAGE", 7)
    model = build_model(small_config("lpsnet_style_streets", *keys))
    assert model.fusion == {
        **{"join_threshold": 0.12, "seed_threshold": 0.34},
        **{"stuff_area_limit": 56, "max_instances": 7},
    }


def test_a_fusion_that_does_not_exist_is_said(small_config):
    cfg = small_config("lpsnet_style_streets", "MODEL.PANOPTIC_FPN.COMBINE.METHOD", "bogus")
    with pytest.raises(InputError, match="METHOD is 'bogus'; use one of"):
        build_model(cfg)


def test_each_instance_counts_the_same():
    instances = Instances((32, 48), gt_boxes=Boxes(torch.tensor([[0.0, 0, 8, 8], [16, 0, 48, 32]])))
    owner = torch.full((8, 12), NOBODY)
    owner[:2, :2], owner[:, 4:] = 0, 1
    boxes = instances.gt_boxes.tensor[owner.clamp(min=0)].permute(2, 0, 1)[None].clone()
    losses = dense_box_losses(boxes, torch.zeros(1, 8, 12), [owner], [instances])
    assert losses["loss_box_reg"] == pytest.approx(0, abs=1e-5)
    for index in (0, 1):
        wrong = boxes.clone()
        wrong[0, :, owner == index] += 100.0  # beside its box, by more than its size
        loss = dense_box_losses(wrong, torch.zeros(1, 8, 12), [owner], [instances])["loss_box_reg"]
        assert 0.5 < loss <= 1.0, "1 to 2 of one, 0 of the other"


def test_centerness():
    boxes = torch.tensor([[0.0, 0, 10, 20]]).expand(4, 4)
    x, y = torch.tensor([5.0, 2.0, 0.0, 11.0]), torch.tensor([10.0, 10.0, 5.0, 5.0])
    expected = torch.tensor([1.0, (2 / 8) ** 0.5, 0.0, 0.0])
    torch.testing.assert_close(true_centerness(boxes, x, y), expected)


def test_owners_are_those_at_the_centres_of_cells():
    targets = sample(16, 16, [[0, 0, 7, 16], [8, 3, 16, 16]], [0, 1])["instances"]
    assert owners_of_cells(targets).tolist() == [[0, 0, -1, -1]] + [[0, 0, 1, 1]] * 3


def test_a_small_case_is_learnt(lpsnet):
    data = [sample(64, 96, [[5, 5, 45, 45], [50, 20, 90, 60]], [0, 0])]
    data[0]["sem_seg"] = torch.zeros(64, 96, dtype=torch.int64)
    data[0]["sem_seg"][data[0]["instances"].gt_masks.tensor.any(dim=0)] = 2
    optimizer = torch.optim.AdamW(lpsnet.parameters(), lr=0.005)
    for _ in range(100):
        losses = losses_of(lpsnet, data)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    with torch.no_grad():
        (output,) = lpsnet.eval()([{"image": data[0]["image"], "height": 128, "width": 192}])
    panoptic_seg, segments = output["panoptic_seg"]
    things = [s for s in segments if s["isthing"]]
    assert len(things) == 2 and all(s["category_id"] == 2 for s in things)
    left, right = (panoptic_seg[50, 50], panoptic_seg[80, 140])
    assert left != right and {int(left), int(right)} == {s["id"] for s in things}
    boxes = output["instances"].pred_boxes.tensor
    expected = torch.tensor([[10.0, 10, 90, 90], [100, 40, 180, 120]])
    assert all((boxes - box).abs().amax(dim=1).min() < 12 for box in expected)
    assert output["instances"].pred_masks.shape[1:] == output["sem_seg"].shape[1:] == (128, 192)


def test_images_of_any_size(lpsnet):
    with torch.no_grad():
        outputs = lpsnet.eval()([{"image": torch.zeros(3, h, w)} for h, w in ((33, 50), (64, 31))])
    assert [o["panoptic_seg"][0].shape for o in outputs] == [(33, 50), (64, 31)]


def test_what_it_cannot_is_said(lpsnet, lpsnet_config, small_config, tmp_path):
    coarse = ("MODEL.SEM_SEG_HEAD.IN_FEATURES", ["p3", "p4", "p5"])
    with pytest.raises(InputError, match="LPSNetStyle needs one at stride 4, such as p2"):
        build_model(small_config("lpsnet_style_streets", *coarse))
    with pytest.raises(InputError, match="LPSNetStyle cannot be exported"):
        export_model(lpsnet, "onnx_dense", tmp_path / "x.onnx")
    with pytest.raises(
        InputError, match=r"\(TEST.AUG.ENABLED\) is not for MODEL.META_ARCHITECTURE LPSN"
    ):
        PanopticTTA.of_config(lpsnet_config, lpsnet)
