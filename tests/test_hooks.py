"""Batch statistics that stay from an iteration on."""

from types import SimpleNamespace

import torch
from torch import nn

from efficientps_d2.hooks import FreezeBatchNorm


def test_batch_statistics_stay_from_the_named_iteration_on():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    hook = FreezeBatchNorm(2)
    hook.trainer = SimpleNamespace(model=model, iter=0)
    means = []
    for iteration in range(5):
        hook.trainer.iter = iteration
        hook.before_step()
        model(torch.randn(2, 3, 8, 8) + iteration).sum().backward()
        means.append(model[1].running_mean.clone())
        model.train()  # as an evaluation in between leaves it
    assert not torch.equal(means[0], means[1]), "statistics are learned before"
    assert all(torch.equal(mean, means[1]) for mean in means[2:])
    assert model[1].weight.grad.abs().sum() > 0 and model[1].weight.requires_grad
