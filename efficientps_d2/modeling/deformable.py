"""Deformable convolution, by torchvision's operator, which also trains on a CPU."""

from detectron2.layers import Conv2d
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformConv2d(Conv2d):
    """A convolution that samples its input where a second one says (Dai et al., ICCV 2017).

    The offsets begin at zero, so that it begins as the plain convolution, whose weights it loads.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, **kwargs):
        """
        Args:
            in_channels, out_channels, kernel_size: of the convolution.
            kwargs: as for Detectron2's ``Conv2d``, ``norm`` and ``activation`` included.
        """
        super().__init__(in_channels, out_channels, kernel_size, **kwargs)
        self.offset = nn.Conv2d(
            in_channels,
            2 * self.kernel_size[0] * self.kernel_size[1],  # (y, x) of each tap
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out_channels, H / stride, W / stride)."""
        x = deform_conv2d(
            x,
            self.offset(x),
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)
