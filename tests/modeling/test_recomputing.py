"""Activation checkpointing changes what a step keeps in memory, and nothing else."""

from copy import deepcopy

import pytest
import torch
from detectron2.modeling import build_backbone, build_model
from detectron2.utils.events import EventStorage

from efficientps_d2 import InputError
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.loaders import build_train_loader
from efficientps_d2.modeling.recomputing import recompute_blocks


def step(model, batch) -> tuple[dict, dict, int]:
    """Losses, gradients by name, and the bytes kept for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    torch.manual_seed(0)
    with EventStorage(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = model(batch)
        size = sum(t.untyped_storage().nbytes() for t in kept.values())
        sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return losses, gradients, size


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("efficientps_streets", ("MODEL.EFFICIENTNET.NORM", "BN")),
        ("efficientps_streets", ("MODEL.EFFICIENTNET.DROP_PATH", 0.5)),
        ("efficientps_streets", ("MODEL.EFFICIENTNET.NAME", "resnet18")),
        ("upsnet_streets", ()),
        ("lpsnet_style_streets", ()),
    ],
)
def test_losses_gradients_and_statistics_stay(toy, small_config, name, keys):
    cfg = with_class_counts(small_config(name, *keys))
    batch = next(iter(build_train_loader(cfg)))
    torch.manual_seed(0)
    model = build_model(cfg).train()
    for norm in model.modules():
        norm.momentum = 0.3 if hasattr(norm, "running_mean") else None
    other = deepcopy(model)
    recompute_blocks(other)
    losses, gradients, kept = step(model, batch)
    other_losses, other_gradients, other_kept = step(deepcopy(other), batch)
    assert other_kept < 0.8 * kept
    torch.testing.assert_close(other_losses, losses)
    torch.testing.assert_close(other_gradients, gradients)
    assert not any(p.grad is not None for p in other.parameters()), "a copy is one"

    step(other, batch)
    state = other.state_dict()
    assert state.keys() == model.state_dict().keys()
    if "resnet18" not in keys:  # timm's own way counts a batch twice
        torch.testing.assert_close(state, model.state_dict())


def test_inference_stays(toy, small_config, keen_model):
    image = {"image": torch.randint(0, 255, (3, 64, 96), dtype=torch.uint8)}
    with torch.no_grad():
        (expected,) = keen_model([image])
        recompute_blocks(keen_model)
        (found,) = keen_model([image])
    assert (found["panoptic_seg"][0] == expected["panoptic_seg"][0]).all()


def test_blocks_that_are_evaluated_keep_their_activations(keen_model):
    """With gradients, for instance of an image."""
    recompute_blocks(keen_model)
    calls = []
    block = keen_model.backbone.bottom_up.blocks[3][0]
    block.conv_pw.register_forward_pre_hook(lambda *_: calls.append(1))
    keen_model.backbone(torch.zeros(1, 3, 32, 32))["p2"].sum().backward()
    assert len(calls) == 1


def test_a_network_that_cannot_is_a_sentence(small_config):
    """timm's HRNet says so by an assertion."""
    cfg = small_config("efficientps_streets", "MODEL.EFFICIENTNET.NAME", "hrnet_w18_small")
    with pytest.raises(InputError, match="ACTIVATION_CHECKPOINTING is True, but .* set it False"):
        recompute_blocks(build_backbone(cfg))


def test_gradients_can_be_had_twice(keen_model):
    recompute_blocks(keen_model.train())
    total = keen_model.backbone(torch.rand(1, 3, 64, 64))["p2"].sum()
    first, second = (
        torch.autograd.grad(
            total, keen_model.backbone.bottom_up.conv_stem.weight, retain_graph=True
        )
        for _ in range(2)
    )
    torch.testing.assert_close(first, second)
