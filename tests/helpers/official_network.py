"""The authors' network in plain torch functions, written from its documented arithmetic.

It knows nothing of the package under test. Tensors are made, in the layout of the authors'
checkpoints, when the forward pass first asks for them.
"""

import math

import torch
from torch.nn import functional as F

# EfficientNet-B5: blocks, kernel, stride, expansion, output channels of each stage.
STAGES = (
    (3, 3, 1, 1, 24),
    (5, 3, 2, 6, 40),
    (5, 5, 2, 6, 64),
    (7, 3, 2, 6, 128),
    (7, 5, 1, 6, 176),
    (9, 5, 2, 6, 304),
    (3, 3, 1, 6, 512),
)


class OfficialNetwork:
    """Forward pass in float32, in inference; ``state`` fills while it runs."""

    def __init__(self, *, separable_fpn, inner_norm, activate_stage0, classes=19, things=8, seed=0):
        self.separable_fpn, self.inner_norm = separable_fpn, inner_norm
        self.activate_stage0 = activate_stage0
        self.classes, self.things = classes, things
        self.state = {}
        self.random = torch.Generator().manual_seed(seed)

    def tensor(self, name: str, *shape: int, low: float, high: float) -> torch.Tensor:
        if name not in self.state:
            values = torch.rand(shape, generator=self.random)
            self.state[name] = values * (high - low) + low
        assert self.state[name].shape == shape
        return self.state[name]

    def conv(self, name, x, channels, k=1, *, stride=1, dilation=(1, 1), groups=1, bias=False):
        fan_in = x.shape[1] // groups * k * k
        bound = math.sqrt(3 / fan_in)
        weight = self.tensor(
            f"{name}.weight", channels, x.shape[1] // groups, k, k, low=-bound, high=bound
        )
        bias = self.tensor(f"{name}.bias", channels, low=-0.5, high=0.5) if bias else None
        if stride == 1:
            padding = [d * (k - 1) // 2 for d in dilation]
            return F.conv2d(x, weight, bias, 1, padding, dilation, groups)
        totals = [max((math.ceil(n / 2) - 1) * 2 + k - n, 0) for n in x.shape[-2:]]
        (top, left) = (t // 2 for t in totals)
        x = F.pad(x, (left, totals[1] - left, top, totals[0] - top))
        return F.conv2d(x, weight, bias, stride, 0, dilation, groups)

    def iabn(self, name, x, *, eps=1e-5, activation=True):
        """InPlaceABN: |weight| + eps scales the normalised input; LeakyReLU(0.01)."""
        n = x.shape[1]
        weight = self.tensor(f"{name}.weight", n, low=-1.5, high=1.5)
        bias = self.tensor(f"{name}.bias", n, low=-0.3, high=0.3)
        mean = self.tensor(f"{name}.running_mean", n, low=-0.3, high=0.3)
        variance = self.tensor(f"{name}.running_var", n, low=0.2, high=1.2)
        self.state.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        shape = (1, n, 1, 1)
        x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + eps)
        x = x * (weight.abs() + eps).view(shape) + bias.view(shape)
        return torch.where(x > 0, x, 0.01 * x) if activation else x

    def conv_module(self, name, x, channels, k=1, **kwargs):
        return self.iabn(f"{name}.bn", self.conv(f"{name}.conv", x, channels, k, **kwargs))

    def separable(self, name, x, channels, dilation=(1, 1)):
        n = x.shape[1]
        depthwise = f"{name}.depthwise_conv"
        x = self.conv(f"{depthwise}.conv", x, n, 3, groups=n, dilation=dilation)
        if self.inner_norm:
            x = self.iabn(f"{depthwise}.bn", x)
        return self.conv_module(f"{name}.pointwise_conv", x, channels)

    def linear(self, name, x, channels):
        bound = math.sqrt(3 / x.shape[1])
        weight = self.tensor(f"{name}.weight", channels, x.shape[1], low=-bound, high=bound)
        return x @ weight.T + self.tensor(f"{name}.bias", channels, low=-0.5, high=0.5)

    def backbone(self, x):
        def norm(name, x, activation=True):
            return self.iabn(f"backbone.{name}", x, eps=1e-3, activation=activation)

        x = norm("bn1", self.conv("backbone.conv_stem", x, 48, 3, stride=2))
        taps = []
        for i, (blocks, k, stride, expansion, channels) in enumerate(STAGES):
            for j in range(blocks):
                block, before = f"blocks.{i}.{j}", x
                step = stride if j == 0 else 1
                hidden = x.shape[1] * expansion
                names = iter(("bn1", "bn2", "bn3"))
                if expansion > 1:
                    x = self.conv(f"backbone.{block}.conv_pw", x, hidden)
                    x = norm(f"{block}.{next(names)}", x)
                x = self.conv(f"backbone.{block}.conv_dw", x, hidden, k, stride=step, groups=hidden)
                x = norm(f"{block}.{next(names)}", x)
                project = "conv_pwl" if expansion > 1 else "conv_pw"
                x = self.conv(f"backbone.{block}.{project}", x, channels)
                x = norm(f"{block}.{next(names)}", x, activation=i == 0 and self.activate_stage0)
                if step == 1 and before.shape[1] == channels:
                    x = x + before
            if i in (1, 2, 4):
                taps.append(x)
        return [*taps, norm("bn2", self.conv("backbone.conv_head", x, 2048))]

    def neck(self, taps):
        top = [
            self.conv_module(f"neck.lateral_convs_top.{i}", tap, 256) for i, tap in enumerate(taps)
        ]
        bottom = [
            self.conv_module(f"neck.lateral_convs_bottom.{3 - i}", tap, 256)
            for i, tap in enumerate(taps)
        ]
        for i in (2, 1, 0):
            top[i] = top[i] + F.interpolate(top[i + 1], size=top[i].shape[-2:])
        for i in (1, 2, 3):
            bottom[i] = bottom[i] + F.interpolate(bottom[i - 1], size=bottom[i].shape[-2:])
        sums = [t + b for t, b in zip(top, bottom, strict=True)]
        if self.separable_fpn:
            return [self.separable(f"neck.fpn_convs.{i}", x, 256) for i, x in enumerate(sums)]
        return [self.conv_module(f"neck.fpn_convs.{i}", x, 256, 3) for i, x in enumerate(sums)]

    def semantic(self, levels):
        def dpc(i, x):
            name = f"semantic_head.lateral_convs_ss.{i}"
            x0 = self.separable(f"{name}.convs.0", x, 256, (1, 6))
            x1 = self.separable(f"{name}.convs.1", x0, 256, (1, 1))
            x2 = self.separable(f"{name}.convs.2", x0, 256, (6, 21))
            x3 = self.separable(f"{name}.convs.3", x0, 256, (18, 15))
            x4 = self.separable(f"{name}.convs.4", x3, 256, (6, 3))
            return self.conv_module(f"{name}.conv", torch.cat([x0, x1, x2, x3, x4], 1), 128)

        def two(name, x):
            return self.separable(f"{name}.convs.1", self.separable(f"{name}.convs.0", x, 128), 128)

        def resize(x, like):
            return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)

        def mc(i, x):
            x = two(f"semantic_head.aligning_convs.{i}", x)
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

        p4, p8, p16, p32 = levels
        d32, d16 = dpc(0, p32), dpc(1, p16)
        m16 = mc(0, d16 + resize(d32, d16))
        l8 = two("semantic_head.lateral_convs_ls.0", p8) + resize(m16, p8)
        l4 = two("semantic_head.lateral_convs_ls.1", p4) + resize(mc(1, l8), p4)
        fused = torch.cat([l4, resize(l8, l4), resize(d16, l4), resize(d32, l4)], 1)
        logits = self.conv("semantic_head.conv_logits", fused, self.classes, bias=True)
        return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)

    def rpn(self, level):
        x = self.conv("rpn_head.rpn_conv", level, 256, 3, bias=True).clamp(min=0)
        return (
            self.conv("rpn_head.rpn_cls", x, 3, bias=True),
            self.conv("rpn_head.rpn_reg", x, 12, bias=True),
        )

    def box(self, pooled):
        """(N, 256, 7, 7) to logits (N, 1 + things), background first, and deltas, 4 for each."""
        x = self.linear("bbox_head.shared_fcs.0", pooled.flatten(1), 1024).clamp(min=0)
        x = self.linear("bbox_head.shared_fcs.1", x, 1024).clamp(min=0)
        logits = self.linear("bbox_head.fc_cls", x, 1 + self.things)
        return logits, self.linear("bbox_head.fc_reg", x, 4 * (1 + self.things))

    def mask(self, pooled):
        """(N, 256, 14, 14) to logits (N, 1 + things, 28, 28), background first."""
        x = pooled
        for i in range(4):
            x = self.separable(f"mask_head.convs.{i}", x, 256)
        weight = self.tensor("mask_head.upsample.weight", 256, 256, 2, 2, low=-0.1, high=0.1)
        bias = self.tensor("mask_head.upsample.bias", 256, low=-0.5, high=0.5)
        x = F.conv_transpose2d(x, weight, bias, stride=2).clamp(min=0)
        return self.conv("mask_head.conv_logits", x, 1 + self.things, bias=True)
