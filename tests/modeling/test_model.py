"""The model: losses, gradients, and outputs for any input."""

import math

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from training_samples import sample

from efficientps_d2 import InputError
from efficientps_d2.modeling.losses import hard_pixel_cross_entropy


class TestHardPixels:
    """The loss is the mean of the largest quarter of the pixel losses."""

    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    targets = torch.randint(3, (2, 8, 8), generator=torch.Generator().manual_seed(1))

    def pixel_losses(self, logits, targets):
        return -logits.log_softmax(1).gather(1, targets[:, None])[:, 0].flatten(1)

    def test_each_image_counts_the_same(self):
        worst = self.pixel_losses(self.logits, self.targets).sort(descending=True).values[:, :16]
        loss = hard_pixel_cross_entropy(self.logits, self.targets)
        torch.testing.assert_close(loss, worst.mean())

    def test_batch_wide(self):
        worst = self.pixel_losses(self.logits, self.targets).flatten().sort().values[-32:]
        loss = hard_pixel_cross_entropy(self.logits, self.targets, per="batch")
        torch.testing.assert_close(loss, worst.mean())

    def test_padding_and_void_change_nothing(self):
        padded = torch.nn.functional.pad(self.logits, (0, 5, 0, 3), value=7.0)
        labels = torch.nn.functional.pad(self.targets, (0, 5, 0, 3), value=255)
        torch.testing.assert_close(
            hard_pixel_cross_entropy(padded, labels),
            hard_pixel_cross_entropy(self.logits, self.targets),
        )

    def test_image_without_labels(self):
        logits = self.logits.clone().requires_grad_()
        loss = hard_pixel_cross_entropy(logits, torch.full_like(self.targets, 255))
        loss.backward()
        assert loss == 0 and (logits.grad == 0).all()


OVERRIDES = {
    "paper": [],
    "official": [
        *("MODEL.EFFICIENTPS.SEPARABLE_FPN", False, "MODEL.EFFICIENTPS.INNER_NORM", True),
        *("MODEL.SEM_SEG_HEAD.HARD_PIXELS_PER", "batch"),
    ],
    "separable RPN": ["MODEL.RPN.HEAD_NAME", "SeparableConvRPNHead"],
}


@pytest.mark.parametrize("form", OVERRIDES)
def test_every_parameter_gets_a_gradient(toy, tiny_config, form):
    """Unused parameters would stop DistributedDataParallel."""
    torch.manual_seed(0)
    model = build_model(tiny_config(toy, *OVERRIDES[form])).train()
    data = [
        sample(64, 96, [[5, 5, 40, 40], [50, 20, 90, 60]], [0, 1]),
        sample(60, 70, [[10, 10, 50, 50]], [1]),
    ]
    with EventStorage():
        losses = model(data)
    assert set(losses) == {
        *("loss_sem_seg", "loss_rpn_cls", "loss_rpn_loc"),
        *("loss_cls", "loss_box_reg", "loss_mask"),
    }
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_no_head_has_an_opinion_before_training(toy, tiny_config):
    """Losses begin near those of a uniform guess: larger ones would flood the shared backbone."""
    torch.manual_seed(0)
    model = build_model(tiny_config(toy)).train()
    with EventStorage():
        losses = model([sample(64, 96, [[5, 5, 40, 40], [50, 20, 90, 60]], [0, 1])])
    hardest = 1.5  # of pixels, whose mean is the loss
    assert losses["loss_sem_seg"] < hardest * math.log(4) + 1 and losses["loss_mask"] < 1


def test_hidden_layers_of_boxes_keep_the_scale_of_features(toy, tiny_config):
    """Detectron2's own initialisation would shrink those of the 2-way FPN tenfold."""
    torch.manual_seed(0)
    model = build_model(tiny_config(toy))
    rpn, box_head = model.proposal_generator.rpn_head, model.roi_heads.box_head
    hidden = rpn.conv(torch.randn(4, 16, 32, 32)).relu()
    assert 0.7 < hidden.square().mean().sqrt() < 1.4
    hidden = box_head(torch.randn(200, 16, 7, 7))
    assert 0.7 < hidden.square().mean().sqrt() < 1.4
    assert rpn.objectness_logits.weight.std() < 0.02, "which starts with no opinion"


def test_images_without_things_train(toy, tiny_config):
    """No thing in the whole batch: all gradients exist, all losses and statistics stay finite."""
    model = build_model(tiny_config(toy)).train()
    with EventStorage():
        losses = model([sample(64, 64, [], []), sample(64, 96, [], [])])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(torch.isfinite(b).all() for b in model.buffers())


def test_crowd_regions_are_not_background(toy, tiny_config):
    """Anchors and proposals in a crowd region are never sampled, those outside are."""
    model = build_model(tiny_config(toy)).train()
    targets = sample(64, 96, [[0, 0, 48, 64], [60, 10, 90, 50]], [-1, 0])["instances"]
    rpn, heads = model.proposal_generator, model.roi_heads
    grid = [torch.zeros(1, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)]
    anchors = rpn.anchor_generator(grid)
    # Take every anchor: sampling would make the test a matter of chance.
    rpn.batch_size_per_image = 10**6
    (labels,), _ = rpn.label_and_sample_anchors(anchors, [targets])
    boxes = Boxes.cat(anchors)
    inside = boxes.tensor[:, 2] < 47
    inside &= (boxes.tensor[:, :2] > 0).all(1) & (boxes.tensor[:, 3] < 64)
    assert inside.any() and (labels[inside] == -1).all()
    assert (labels == 1).any() and (labels == 0).any()

    proposals = Instances((64, 96))
    proposals.proposal_boxes = Boxes(
        torch.tensor([[2.0, 2, 30, 30], [20, 10, 44, 60], [58, 8, 88, 48], [50, 50, 60, 64]])
    )
    proposals.objectness_logits = torch.zeros(4)
    with EventStorage():
        (sampled,) = heads.label_and_sample_proposals([proposals], [targets])
    assert (sampled.proposal_boxes.tensor[:, 2] > 47).all()
    assert sorted(set(sampled.gt_classes.tolist())) == [0, heads.num_classes]


def test_outputs_for_any_size(keen_model):
    """Sizes that are no multiple of 32, several in a batch, each with an output size of its own."""
    inputs = [
        {
            "image": torch.randint(0, 255, (3, 50, 77), dtype=torch.uint8),
            "height": 100,
            "width": 60,
        },
        {"image": torch.randint(0, 255, (3, 96, 33), dtype=torch.uint8)},
    ]
    with torch.no_grad():
        outputs = keen_model(inputs)
    for output, size in zip(outputs, [(100, 60), (96, 33)], strict=True):
        panoptic_seg, segments = output["panoptic_seg"]
        assert output["sem_seg"].shape == (4, *size) and panoptic_seg.shape == size
        assert set(panoptic_seg.unique().tolist()) - {0} == {s["id"] for s in segments}
        instances = output["instances"]
        assert instances.image_size == size and instances.pred_masks.shape[1:] == size
        assert len(instances) and instances.pred_mask_logits.shape[1:] == (28, 28)
        # Things are the contiguous ids 2 and 3, the detector's classes 0 and 1.
        assert set(instances.pred_classes.tolist()) <= {2, 3}


def test_padding_is_cropped_before_resizing(keen_model):
    """Resizing the padded logits would shift every pixel by the share of the padding."""
    sem_seg = torch.zeros(4, 64, 96)
    sem_seg[0, :50, :30], sem_seg[1, :50, 30:60] = 5.0, 5.0  # the image is 50 x 60
    sem_seg[3, 50:], sem_seg[3, :, 60:] = 9.0, 9.0
    none = Instances((50, 60), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0))
    none.pred_classes = torch.zeros(0, dtype=torch.int64)
    none.pred_mask_logits = torch.zeros(0, 28, 28)
    output = keen_model.postprocess(none, sem_seg, {"height": 100, "width": 120})
    panoptic_seg, segments = output["panoptic_seg"]
    assert [(s["category_id"], s["area"]) for s in segments] == [(0, 100 * 60), (1, 100 * 60)]
    assert (panoptic_seg[:, :60] == 1).all() and (panoptic_seg[:, 60:] == 2).all()


def test_autocast_keeps_mask_logits_in_single_precision(keen_model):
    inputs = [{"image": torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)}]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        (output,) = keen_model(inputs)
    assert output["instances"].pred_mask_logits.dtype == torch.float32
    assert output["sem_seg"].dtype == torch.float32
    assert output["panoptic_seg"][0].shape == (64, 64)


def test_autocast_trains(toy, tiny_config):
    model = build_model(tiny_config(toy)).train()
    data = [sample(64, 96, [[5, 5, 40, 40]], [0]), sample(64, 64, [], [])]
    with EventStorage(), torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(data)
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_heuristic_merge_keeps_class_zero(toy, tiny_config):
    """Detectron2's merge alone takes semantic class 0, here road, for things and deletes it."""
    cfg = tiny_config(
        toy,
        *("MODEL.PANOPTIC_FPN.COMBINE.METHOD", "heuristic"),
        *("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 10),
    )
    model = build_model(cfg).eval()
    sem_seg = torch.zeros(4, 32, 32)
    sem_seg[0, :16] = sem_seg[1, 16:24] = sem_seg[3, 24:] = 5.0
    none = Instances((32, 32), scores=torch.zeros(0), pred_classes=torch.zeros(0).long())
    none.pred_masks = torch.zeros(0, 32, 32, dtype=torch.bool)
    panoptic_seg, segments = model.fusion(none, sem_seg, thing_class_ids=[2, 3])
    assert [(s["category_id"], s["isthing"]) for s in segments] == [(0, False), (1, False)]
    assert (panoptic_seg[:24] > 0).all() and (panoptic_seg[24:] == 0).all()


def test_small_case_overfits(toy, tiny_config):
    """A few dozen steps on one image lower every loss clearly."""
    torch.manual_seed(0)
    model = build_model(tiny_config(toy)).train()
    data = [sample(64, 96, [[5, 5, 45, 45], [50, 20, 90, 60]], [0, 1])]
    data[0]["sem_seg"] = torch.zeros(64, 96, dtype=torch.int64)
    data[0]["sem_seg"][32:] = 1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    history = []
    with EventStorage():
        for _ in range(40):
            losses = model(data * 2)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            history.append({k: v.item() for k, v in losses.items()})
    for name in ("loss_sem_seg", "loss_rpn_cls", "loss_cls"):
        assert history[-1][name] < 0.5 * history[0][name], name


def test_a_fusion_by_logits_needs_them(stock_config):
    """Or a training would end in an error in its first evaluation."""
    stock_config.MODEL.PANOPTIC_FPN.COMBINE.METHOD = "adaptive"
    with pytest.raises(InputError, match="METHOD adaptive needs a mask head that keeps its logits"):
        build_model(stock_config)


@pytest.mark.parametrize("name", ["efficientps_streets", "upsnet_streets", "mask_rcnn_streets"])
def test_masks_cannot_be_left_out(small_config, name):
    with pytest.raises(InputError, match="MASK_ON is False, but .* needs masks .*; set it True"):
        build_model(small_config(name, "MODEL.MASK_ON", False))
