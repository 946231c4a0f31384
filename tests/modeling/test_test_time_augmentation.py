"""Test-time augmentation: the plain result from one plain view, symmetry, bounded memory."""

import weakref

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from hypothesis import given
from hypothesis import strategies as st

from efficientps_d2 import InputError
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2.modeling.test_time_augmentation import (
    PanopticTTA,
    View,
    from_view,
    look,
    to_view,
)

# A flipped image is only padded alike if it needs no padding.
IMAGE = torch.randint(0, 255, (3, 64, 96), generator=torch.Generator().manual_seed(0)).byte()


def predict(model, image, **more):
    with torch.no_grad():
        (output,) = model([{"image": image, **more}])
    return output


@pytest.fixture
def tta(keen_model, toy, tiny_config):
    def tta(scales, flip):
        return PanopticTTA(keen_model, scales, flip, tiny_config(toy))

    return tta


def test_one_plain_view_is_no_augmentation(tta, keen_model):
    plain = predict(keen_model, IMAGE, height=100, width=70)
    output = predict(tta([1.0], False), IMAGE, height=100, width=70)
    assert torch.allclose(output["sem_seg"], plain["sem_seg"], atol=1e-4)
    for field in ("scores", "pred_classes", "pred_masks", "pred_mask_logits"):
        ours, theirs = output["instances"].get(field), plain["instances"].get(field)
        assert torch.allclose(ours.float(), theirs.float(), atol=1e-4), field
    assert (output["panoptic_seg"][0] == plain["panoptic_seg"][0]).all()
    assert output["panoptic_seg"][1] == plain["panoptic_seg"][1]


def test_any_number_of_detections_may_be_asked_for(keen_model, toy, tiny_config):
    cfg = tiny_config(toy, "TEST.DETECTIONS_PER_IMAGE", -1)
    keen_model.roi_heads.box_predictor.test_topk_per_image = -1
    output = predict(PanopticTTA(keen_model, [1.0], False, cfg), IMAGE)
    assert len(output["instances"]) == len(predict(keen_model, IMAGE)["instances"]) > 20


def test_mirrored_images_give_mirrored_results(tta):
    both = tta([1.0, 1.5], True)
    output, mirrored = predict(both, IMAGE), predict(both, IMAGE.flip(-1))
    assert torch.allclose(output["sem_seg"], mirrored["sem_seg"].flip(-1), atol=1e-3)
    boxes = mirrored["instances"].pred_boxes.tensor
    boxes = torch.stack([96 - boxes[:, 2], boxes[:, 1], 96 - boxes[:, 0], boxes[:, 3]], dim=1)
    ours = output["instances"]
    assert len(ours) == len(boxes) > 10
    nearest = torch.cdist(ours.pred_boxes.tensor, boxes, p=1).min(dim=1)
    same = nearest.values < 0.1  # of equal scores, either may come first
    assert same.float().mean() > 0.9
    logits = mirrored["instances"].pred_mask_logits[nearest.indices].flip(-1)
    assert torch.allclose(ours.pred_mask_logits[same], logits[same], atol=1e-2)


@given(st.integers(8, 300), st.integers(8, 300), st.booleans())
def test_boxes_come_back(height, width, flip):
    view, size = View((height, width), flip), (120, 80)
    boxes = torch.tensor([[3.0, 4.0, 30.0, 50.0], [0.0, 0.0, 80.0, 120.0]])
    seen = to_view(boxes, view, size)
    assert torch.allclose(from_view(seen, view, size), boxes, atol=1e-3)
    assert torch.allclose(seen[1], torch.tensor([0.0, 0.0, width, height]), atol=1e-3)


def test_what_a_view_shows():
    assert (look(IMAGE, View((64, 96), True)) == IMAGE.flip(-1)).all()
    small = look(IMAGE, View((32, 48), False))
    assert small.shape == (3, 32, 48) and abs(small.float().mean() - IMAGE.float().mean()) < 2


class FakeModel:
    """Finds one thing in views of a given width only, and counts the logits that are alive."""

    gives_masks = True

    def __init__(self, width):
        self.width, self.alive, self.most = width, weakref.WeakSet(), 0
        self.roi_heads = self
        self.mask_on = True

    def backbone(self, image):
        return image

    def preprocess_image(self, inputs):
        return type("Images", (), {"tensor": inputs[0]["image"]})

    def inference(self, inputs, do_postprocess):
        assert not self.mask_on, "no masks of boxes that may go"
        size = inputs[0]["image"].shape[-2:]
        found = int(size[1] == self.width)
        box = torch.tensor([[10.0, 10.0, 20.0, 20.0]])[:found] * size[1] / 96
        instances = Instances(tuple(size), pred_boxes=Boxes(box), scores=torch.ones(found))
        instances.pred_classes = torch.zeros(found).long()
        logits = torch.full((4, *size), float(size[1]))
        self.alive.add(logits)
        self.most = max(self.most, len(self.alive))
        return [instances], [logits]

    def forward_with_given_boxes(self, features, instances):
        instances[0].pred_mask_logits = torch.full(
            (len(instances[0]), 28, 28), float(features.shape[-1])
        )
        return instances

    def postprocess(self, instances, sem_seg, inputs):
        return {"instances": instances, "sem_seg": sem_seg}


def test_views_are_averaged_and_what_one_of_them_finds_counts(toy, tiny_config):
    model = FakeModel(192)
    output = PanopticTTA(model, [1.0, 2.0, 0.5], True, tiny_config(toy))([{"image": IMAGE}])[0]
    assert torch.allclose(output["sem_seg"], torch.tensor((96 + 192 + 48) / 3))
    boxes = output["instances"].pred_boxes.tensor.tolist()
    assert sorted(boxes) == [[10, 10, 20, 20], [76, 10, 86, 20]], "and its mirror image"
    assert torch.allclose(output["instances"].pred_mask_logits, torch.tensor((96 + 192 + 48) / 3))
    assert model.most == 1, "logits of one view at a time"
    assert model.mask_on


def test_images_without_detections(toy, tiny_config):
    model = FakeModel(0)
    output = PanopticTTA(model, [1.0], False, tiny_config(toy))([{"image": IMAGE}])[0]
    assert len(output["instances"]) == 0 and output["instances"].pred_mask_logits.shape[0] == 0


def test_results_end_in_tta(keen_model, toy, tiny_config):
    cfg = tiny_config(toy, "TEST.AUG.SCALES", (1.0,), "TEST.AUG.FLIP", False)
    plain, augmented = Trainer.test(cfg, keen_model), Trainer.test_with_TTA(cfg, keen_model)
    assert [f"{task}_TTA" for task in plain] == list(augmented)
    for task, values in plain.items():
        assert augmented[f"{task}_TTA"] == pytest.approx(values, nan_ok=True)


def test_heads_without_mask_logits_are_named(stock_config):
    """At once, since a training would find it only after its last iteration."""
    model = build_model(stock_config)
    with pytest.raises(InputError, match="set MODEL.ROI_MASK_HEAD.NAME SeparableConvMaskHead"):
        PanopticTTA.of_config(stock_config, model)
