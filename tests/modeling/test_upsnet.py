"""UPSNet: its panoptic loss, its deformable convolutions, and the backbones of its paper."""

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch.nn import functional as F
from training_samples import sample

from efficientps_d2 import InputError
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


def test_losses_of_a_batch_are_means(upsnet, monkeypatch):
    """Over images, or over the cells of all boxes."""
    monkeypatch.setattr(upsnet, "_some_of", lambda instances: instances)
    data = [
        sample(64, 96, [[5, 5, 40, 40], [50, 20, 90, 60]], [0, 1]),
        sample(64, 96, [[10, 10, 50, 50]], [1]),
    ]
    both, (first, second) = losses_of(upsnet, data), (losses_of(upsnet, [x]) for x in data)
    panoptic, roi = "loss_panoptic", "loss_sem_seg_roi"
    assert abs(first[panoptic] - second[panoptic]) > 1e-3
    torch.testing.assert_close(both[panoptic], (first[panoptic] + second[panoptic]) / 2)
    assert abs(first[roi] - second[roi]) > 1e-4
    torch.testing.assert_close(both[roi], (2 * first[roi] + second[roi]) / 3)


def test_crowds_are_no_instances(small_config, monkeypatch):
    """They teach the unknown class, in the panoptic loss, and no box of the RoI loss."""
    crowd_aware = ("MODEL.PROPOSAL_GENERATOR.NAME", "CrowdAwareRPN")
    crowd_aware += ("MODEL.ROI_HEADS.NAME", "CrowdAwareROIHeads")
    model = build_model(
        small_config("upsnet_streets", *crowd_aware, "MODEL.UPSNET.ROI_LOSS_WEIGHT", 0.04)
    )
    monkeypatch.setattr(model, "_some_of", lambda instances: instances)
    boxes = [[5, 5, 40, 40], [50, 20, 90, 60]]
    data = [sample(64, 96, boxes, [0, -1])]
    alone = [{**data[0], "instances": data[0]["instances"][:1]}]
    found, expected = losses_of(model, data), losses_of(model, alone)
    for name in ("loss_panoptic", "loss_sem_seg_roi", "loss_sem_seg"):
        torch.testing.assert_close(found[name], expected[name])


def test_logits_at_another_stride_are_refused(small_config):
    coarse = ("MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead", "MODEL.SEM_SEG_HEAD.COMMON_STRIDE", 8)
    coarse += ("MODEL.SEM_SEG_HEAD.IN_FEATURES", ["p3", "p4", "p5"])
    with pytest.raises(InputError, match="COMMON_STRIDE is 8; UPSNet .* set it 4"):
        build_model(small_config("upsnet_streets", *coarse))


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


@pytest.mark.parametrize(("count", "widths"), [(2, [32, 32]), (3, [16, 32, 32])])
def test_only_the_last_two_convolutions_change_the_width(small_config, count, widths):
    model = build_model(small_config("upsnet_streets", "MODEL.UPSNET.NUM_CONVS", count))
    assert [conv.out_channels for conv in model.sem_seg_head.convs] == widths


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_images_have_a_finite_loss(upsnet, side):
    losses = losses_of(upsnet, [sample(side, 64, [], []), sample(64, side, [], [])])
    assert all(value.isfinite() for value in losses.values())
