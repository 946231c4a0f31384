"""Optimizers by config keys: which parameters get which rate and decay, and clipping."""

import pytest
import torch
from torch import nn

from efficientps_d2 import InputError
from efficientps_d2.config.loading import get_config
from efficientps_d2.engine.optimizer import build_optimizer, scaled_to_workers


class Network(nn.Module):
    """A pretrained part below an FPN, and heads."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.bottom_up = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.backbone.bottom_up_laterals = nn.Conv2d(4, 4, 1)  # of the FPN, though it sounds alike
        self.head = nn.Linear(4, 2)


def config(*overrides):
    plain = ["SOLVER.WEIGHT_DECAY_NORM", "0.0", "SOLVER.BACKBONE_LR_FACTOR", "1.0"]
    return get_config("efficientps_streets", [*plain, *overrides])


def by_parameter(optimizer, model, key: str) -> dict[str, float]:
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: g[key] for g in optimizer.param_groups for p in g["params"]}


@pytest.mark.parametrize(("name", "kind"), [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_pretrained_parameters_have_a_rate_of_their_own(name, kind):
    overrides = ["SOLVER.OPTIMIZER", name, "SOLVER.BASE_LR", "0.5"]
    overrides += ["SOLVER.BACKBONE_LR_FACTOR", "0.2", "SOLVER.WEIGHT_DECAY", "0.3"]
    model = Network()
    optimizer = build_optimizer(config(*overrides), model)
    assert isinstance(optimizer, kind)
    rates = by_parameter(optimizer, model, "lr")
    assert set(rates) == {name for name, _ in model.named_parameters()}
    pretrained = {name for name in rates if name.startswith("backbone.bottom_up.")}
    assert len(pretrained) == 4
    assert all(rate == (0.1 if n in pretrained else 0.5) for n, rate in rates.items())
    biases = build_optimizer(config(*overrides, "SOLVER.BIAS_LR_FACTOR", "2.0"), model)
    rates = by_parameter(biases, model, "lr")
    assert rates["backbone.bottom_up.0.bias"] == pytest.approx(0.2) and rates["head.bias"] == 1.0
    decays = by_parameter(optimizer, model, "weight_decay")
    assert {n for n, decay in decays.items() if decay == 0} == {
        "backbone.bottom_up.1.weight",
        "backbone.bottom_up.1.bias",
    }
    assert decays["head.weight"] == 0.3


def test_all_gradients_are_clipped_as_one_vector():
    model = Network()
    clip = "SOLVER.CLIP_GRADIENTS"
    optimizer = build_optimizer(
        config(
            *(f"{clip}.ENABLED", "True", f"{clip}.CLIP_TYPE", "full_model"),
            *(f"{clip}.CLIP_VALUE", "2.0", f"{clip}.NORM_TYPE", "2.0", "SOLVER.BASE_LR", "1.0"),
            *("SOLVER.WEIGHT_DECAY", "0.0", "SOLVER.MOMENTUM", "0.0", "SOLVER.OPTIMIZER", "SGD"),
        ),
        model,
    )
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    for i, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, 10.0 * (i + 1))
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    optimizer.step()
    step = before - nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.testing.assert_close(step, 2 * gradient / gradient.norm(), rtol=1e-4, atol=1e-5)


def test_detectron2s_clipping_of_each_parameter_still_works():
    model = Network()
    clip = "SOLVER.CLIP_GRADIENTS"
    overrides = (f"{clip}.ENABLED", "True", f"{clip}.CLIP_VALUE", "0.5", "SOLVER.BASE_LR", "1.0")
    overrides += (f"{clip}.CLIP_TYPE", "value", "SOLVER.OPTIMIZER", "SGD")
    optimizer = build_optimizer(config(*overrides, "SOLVER.WEIGHT_DECAY", "0.0"), model)
    before = model.head.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 9.0)
    optimizer.step()
    torch.testing.assert_close(before - model.head.weight.detach(), torch.full((2, 4), 0.5))


def test_a_factor_for_no_backbone_is_refused():
    with pytest.raises(InputError, match="FACTOR is 0.5, but this model has no network below an F"):
        build_optimizer(config("SOLVER.BACKBONE_LR_FACTOR", "0.5"), nn.Linear(1, 1))


def test_the_schedule_of_other_numbers_of_workers(tiny_config):
    keys = ("SOLVER.REFERENCE_WORLD_SIZE", 2, "SOLVER.FREEZE_BN_ITER", 100, "SOLVER.MAX_ITER", 400)
    solver = scaled_to_workers(tiny_config("toy", *keys), 8).SOLVER
    assert (solver.MAX_ITER, solver.FREEZE_BN_ITER) == (100, 25)
    assert scaled_to_workers(tiny_config("toy", *keys), 2).SOLVER.FREEZE_BN_ITER == 100
