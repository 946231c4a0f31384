"""UPSNet: its panoptic loss, its deformable convolutions, and the backbones of its paper."""

import onnxruntime
import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import build_backbone, build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from project import CONFIGS
from torch import nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d
from training_samples import sample

from efficientps_d2 import InputError
from efficientps_d2.config.loading import load_config
from efficientps_d2.modeling.backbone.resnet import make_deformable
from efficientps_d2.modeling.deformable import DeformConv2d
from efficientps_d2.modeling.meta_arch.upsnet import NO_TARGET, cell_labels, panoptic_target


@pytest.fixture
def upsnet(small_config):
    torch.manual_seed(0)
    return build_model(small_config("upsnet_streets", "MODEL.UPSNET.ROI_LOSS_WEIGHT", 0.04))


def losses_of(model, data) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    with EventStorage():
        return model.train()(data)


def two_images() -> list[dict]:
    return [
        sample(64, 96, [[5, 5, 40, 40], [50, 20, 90, 60]], [0, 1]),
        sample(60, 70, [[10, 10, 50, 50]], [1]),
    ]


def test_every_parameter_gets_a_gradient(upsnet):
    losses = losses_of(upsnet, two_images())
    assert set(losses) == {
        *("loss_sem_seg", "loss_sem_seg_roi", "loss_panoptic", "loss_rpn_cls", "loss_rpn_loc"),
        *("loss_cls", "loss_box_reg", "loss_mask"),
    }
    sum(losses.values()).backward()
    assert [name for name, p in upsnet.named_parameters() if p.grad is None] == []


def test_the_panoptic_loss_teaches_masks_and_classes_of_pixels(upsnet):
    losses_of(upsnet, two_images())["loss_panoptic"].backward()
    taught = {n.split(".")[1 if n.startswith("roi") else 0] for n, p in upsnet.named_parameters()
              if p.grad is not None and p.grad.abs().sum() > 0}  # fmt: skip
    assert taught == {"backbone", "sem_seg_head", "mask_head"}


def test_images_without_instances_have_losses(upsnet):
    losses = losses_of(upsnet, [sample(64, 96, [], [])] * 2)
    assert losses["loss_panoptic"] > 0.1 and losses["loss_sem_seg_roi"] == 0
    sum(losses.values()).backward()


@pytest.mark.parametrize("labels", [slice(0), slice(12, None)])
def test_pixels_without_ground_truth_count_as_zeros(upsnet, labels):
    """As in UPSNet: the mean is over all pixels of the image, its padding not included."""
    data = [sample(64, 96, [], [])]
    data[0]["sem_seg"][labels] = 255
    torch.manual_seed(1)
    features = upsnet.backbone(upsnet.preprocess_image(data).tensor)
    logits = upsnet.sem_seg_head.layers(features)[0]
    unknown = logits[upsnet.thing_class_ids].amax(dim=0)
    log_p = torch.cat([logits[[0, 1]], unknown[None]]).log_softmax(dim=0)
    target = data[0]["sem_seg"][2::4, 2::4]
    channel = target.clamp(max=2)
    expected = -(log_p.gather(0, channel[None])[0] * (target < 255)).mean() * 0.5
    found = losses_of(upsnet, data)["loss_panoptic"]
    torch.testing.assert_close(found, expected)


def test_channels_of_the_target():
    """Stuff, then instances, of which later ones cover others; then things of no instance."""
    sem_seg = torch.tensor([[5, 5, 2, 2], [3, 3, 255, 2], [3, 3, 3, 255]])
    masks = torch.zeros(2, 3, 4, dtype=torch.bool)
    masks[0, 1, :2] = masks[1, 1, 1:3] = True
    target = panoptic_target(sem_seg, masks, [2, 5], ignore_value=255)
    assert target.tolist() == [[1, 1, 0, 0], [2, 3, 3, 0], [4, 4, 4, NO_TARGET]]


def test_a_share_of_the_boxes_is_kept(upsnet):
    def kept(count: int) -> list[int]:
        instances = Instances((8, 8), gt_classes=torch.arange(count))
        return upsnet._some_of(instances).gt_classes.tolist()

    assert [len(kept(n)) for n in (0, 1, 2, 10)] == [0, 1, 1, 7]
    assert len({i for _ in range(20) for i in kept(10)}) == 10, "not always the same"


def test_losses_are_those_of_their_definitions(upsnet, monkeypatch):
    """Of one kept and one dropped instance, whose boxes lie on the grid of the logits."""
    data = [sample(64, 96, [[8, 8, 40, 40], [48, 16, 88, 56]], [0, 1])]
    data[0]["sem_seg"] = torch.zeros(64, 96, dtype=torch.int64)
    data[0]["sem_seg"][8:40, 8:40], data[0]["sem_seg"][16:56, 48:88] = 2, 3
    monkeypatch.setattr(upsnet, "_some_of", lambda instances: instances[:1])
    losses = losses_of(upsnet, data)
    features = upsnet.backbone(upsnet.preprocess_image(data).tensor)
    (x,), heads = upsnet.sem_seg_head.layers(features), upsnet.roi_heads
    boxes = data[0]["instances"].gt_boxes
    pooled = heads.mask_pooler([features[f] for f in heads.mask_in_features], [boxes[:1]])
    mask = heads.mask_head.layers(pooled)[:, :1]

    kept, crop = torch.zeros(16, 24), torch.zeros(16, 24)
    crop[2:10, 2:10] = x[2, 2:10, 2:10]
    kept[2:10, 2:10] = F.interpolate(mask, (8, 8), mode="bilinear", align_corners=False)[0, 0]
    unknown = torch.maximum(x[2], x[3]) - crop
    target = torch.zeros(16, 24, dtype=torch.int64)
    target[2:10, 2:10], target[4:14, 12:22] = 2, 3
    combined = torch.stack([x[0], x[1], crop + kept, unknown])
    expected = 0.5 * F.cross_entropy(combined[None], target[None])
    torch.testing.assert_close(losses["loss_panoptic"], expected)

    # UPSNet pools features before the classifier, which is linear, as pooling is.
    index = torch.zeros(2, 1)
    align = ROIAlign(28, 1 / 4, sampling_ratio=2)
    cells = align(x[None], torch.cat([index, boxes.tensor], dim=1))
    labels = torch.tensor([2, 3])[:, None, None].expand(2, 28, 28)
    torch.testing.assert_close(losses["loss_sem_seg_roi"], 0.04 * F.cross_entropy(cells, labels))


def test_labels_of_cells():
    sem_seg = torch.arange(56)[:, None] * 1000 + torch.arange(84)
    (labels,) = cell_labels(sem_seg, Boxes(torch.tensor([[28.0, 0.0, 84.0, 28.0]])))
    assert (labels == torch.arange(28)[:, None] * 1000 + 29 + 2 * torch.arange(28)).all()
    (outside,) = cell_labels(sem_seg, Boxes(torch.tensor([[80.0, 50.0, 90.0, 60.0]])))
    assert outside.max() == 55083


def test_a_small_case_is_learnt(upsnet):
    data = [sample(64, 96, [[5, 5, 45, 45], [50, 20, 90, 60]], [0, 1])]
    data[0]["sem_seg"] = torch.zeros(64, 96, dtype=torch.int64)
    data[0]["sem_seg"][32:] = 1
    for class_id, mask in zip((2, 3), data[0]["instances"].gt_masks.tensor, strict=True):
        data[0]["sem_seg"][mask] = class_id
    optimizer = torch.optim.AdamW(upsnet.parameters(), lr=0.001)
    first = losses_of(upsnet, data * 2)
    for _ in range(50):
        losses = losses_of(upsnet, data * 2)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for name in ("loss_sem_seg", "loss_panoptic", "loss_sem_seg_roi", "loss_mask"):
        assert losses[name] < 0.5 * first[name], name
    with torch.no_grad():
        (output,) = upsnet.eval()(data)
    assert (output["sem_seg"].argmax(dim=0) == data[0]["sem_seg"]).float().mean() > 0.9


class TestDeformable:
    def test_it_begins_as_a_plain_convolution(self):
        conv, x = DeformConv2d(4, 6, padding=2, dilation=2, stride=2), torch.rand(2, 4, 9, 12)
        expected = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=2, dilation=2)
        torch.testing.assert_close(conv(x), expected)

    def test_it_samples_where_its_offsets_say(self):
        conv, x = DeformConv2d(1, 1, padding=1), torch.rand(1, 1, 8, 8)
        conv.offset.bias.data[0::2] = 2.0  # rows
        shifted = F.pad(x[:, :, 2:], (0, 0, 0, 2))
        expected = F.conv2d(shifted, conv.weight, conv.bias, padding=1)
        torch.testing.assert_close(conv(x)[:, :, 1:6], expected[:, :, 1:6])

    @pytest.mark.parametrize(
        "options", [{"padding": 1}, {"padding": 2, "dilation": 2, "stride": 2}, {"kernel_size": 1}]
    )
    @pytest.mark.parametrize("reach", [0.3, 30])  # within and beyond the border
    def test_it_is_the_operator_of_torchvision(self, options, reach):
        torch.manual_seed(0)
        conv, x = DeformConv2d(5, 6, **options), torch.randn(2, 5, 9, 12, requires_grad=True)
        nn.init.normal_(conv.offset.weight, std=reach)
        inputs = [x, *conv.parameters()]
        steps = {key: getattr(conv, key) for key in ("stride", "padding", "dilation")}
        expected = deform_conv2d(x, conv.offset(x), conv.weight, conv.bias, **steps)
        found, direction = conv(x), torch.randn_like(expected)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(out, inputs, direction) for out in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("offset", [float("nan"), float("inf"), -1e30])
    def test_offsets_of_a_diverged_network_do_no_harm(self, offset):
        conv, x = DeformConv2d(2, 3, padding=1), torch.rand(1, 2, 6, 6)
        nn.init.constant_(conv.offset.bias, offset)
        found = conv(x)
        assert found.isnan().all() if offset != -1e30 else (found == conv.bias[:, None, None]).all()

    def test_exported_files_have_it(self, tmp_path):
        conv, x = DeformConv2d(3, 4, padding=1).eval(), torch.rand(1, 3, 9, 12)
        nn.init.normal_(conv.offset.weight, std=0.3)
        torch.onnx.export(conv, (x,), tmp_path / "conv.onnx", dynamo=True, opset_version=20)
        session = onnxruntime.InferenceSession(tmp_path / "conv.onnx")
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        expected = conv(x)
        torch.testing.assert_close(torch.from_numpy(found), expected)
        torch.testing.assert_close(torch.jit.trace(conv, x)(x.flip(3)), conv(x.flip(3)))

    def test_its_offsets_learn(self):
        conv = DeformConv2d(2, 3, padding=1)
        conv(torch.rand(1, 2, 6, 6)).square().sum().backward()
        assert conv.offset.weight.grad.abs().sum() > 0


def backbone(name: str, *overrides):
    torch.manual_seed(0)
    return build_backbone(load_config(str(CONFIGS / name), list(overrides))).eval()


@pytest.mark.parametrize(("count", "widths"), [(2, [32, 32]), (3, [16, 32, 32])])
def test_only_the_last_two_convolutions_change_the_width(small_config, count, widths):
    model = build_model(small_config("upsnet_streets", "MODEL.UPSNET.NUM_CONVS", count))
    assert [conv.out_channels for conv in model.sem_seg_head.convs] == widths


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


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_images_have_a_finite_loss(upsnet, side):
    losses = losses_of(upsnet, [sample(side, 64, [], []), sample(64, side, [], [])])
    assert all(value.isfinite() for value in losses.values())


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
