"""Building blocks that the 2-way FPN and the heads share."""

import math

import fvcore.nn.weight_init as weight_init
from detectron2.layers import Conv2d, get_norm
from torch import nn


def norm_layer(norm: str, channels: int) -> nn.Module | None:
    """Detectron2's ``get_norm``, whose "GN" has 32 groups; here at least two channels are a group.

    Networks may be so narrow that 32 groups do not divide their channels, and a norm over one value
    of a 1 x 1 map is none.
    """
    if norm != "GN":
        return get_norm(norm, channels)
    groups = math.gcd(channels, 32)
    return nn.GroupNorm(groups if groups < channels else max(1, channels // 2), channels)


def conv_norm_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    *,
    norm: str,
    linear: bool = False,
    **kwargs,
) -> Conv2d:
    """A convolution without bias, its norm and LeakyReLU(0.01): the paper's "iABN" convolution.

    If it is ``linear`` it has no LeakyReLU.
    """
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        bias=not norm,
        norm=norm_layer(norm, out_channels),
        activation=None if linear else nn.LeakyReLU(0.01, inplace=True),
        **kwargs,
    )
    weight_init.c2_msra_fill(conv)
    return conv


class SeparableConv2d(nn.Sequential):
    """Depthwise k x k, then pointwise 1x1 convolution, norm and LeakyReLU; (N, C, H, W) in and out.

    If it is ``linear`` it has no LeakyReLU.

    With ``inner_norm`` the depthwise convolution has a norm and activation of its own, as in the
    authors' code; the paper's 40.89 M parameters are only reached without it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        norm: str,
        inner_norm: bool = False,
        linear: bool = False,
        dilation: tuple[int, int] = (1, 1),
    ):
        spatial = {
            "kernel_size": kernel_size,
            "padding": tuple(d * (kernel_size // 2) for d in dilation),
            "dilation": dilation,
            "groups": in_channels,
        }
        if inner_norm:
            depthwise = conv_norm_act(in_channels, in_channels, norm=norm, linear=linear, **spatial)
        else:
            depthwise = Conv2d(in_channels, in_channels, bias=False, **spatial)
            weight_init.c2_msra_fill(depthwise)
        pointwise = conv_norm_act(in_channels, out_channels, norm=norm, linear=linear)
        super().__init__(depthwise, pointwise)


def fill_classifier(conv: nn.Conv2d) -> None:
    """Logits of about +-1 for the last convolution of a head, so that it starts with no opinion.

    He initialisation by the outputs, of which there are as few as classes, gives +-10: the loss of
    the semantic head would begin at eight times that of a uniform guess, and its gradient in the
    backbone at 200 times that of the box head.
    """
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="linear")
    nn.init.zeros_(conv.bias)


def fill_hidden_layers(head: nn.Module) -> None:
    """He initialisation of the 3x3 convolutions and linear layers of a head of Detectron2.

    The N(0, 0.01) of Detectron2's RPN suits a pyramid without norms, whose features begin at +-10.
    Those of the 2-way FPN begin at +-0.6.
    """
    for module in head.modules():
        is_full = isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        if isinstance(module, nn.Linear) or (is_full and module.groups == 1):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
