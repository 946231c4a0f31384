"""Deformable convolution that also trains on a CPU (Dai et al., ICCV 2017)."""

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from efficientps_d2.modeling.cpu_sampling import is_sampled, pixel_table, sums_of_rows


class DeformConv2d(Conv2d):
    """A convolution that samples its input where a second one says.

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
        offset = self.offset(x)
        if is_sampled(x) and self.groups == 1:
            x = self._convolve(x, offset)
        else:
            x = deform_conv2d(
                x,
                offset,
                self.weight,
                self.bias,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
            )
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    def _convolve(self, x: Tensor, offset: Tensor) -> Tensor:
        """As torchvision's operator, whose gradients take seven times as long on a CPU."""
        pixels, weights = _corners(x, *self._taps(offset))
        taps = sums_of_rows(pixel_table(F.pad(x, (1, 1, 1, 1))), pixels, weights)
        (n, _, h, w), channels = offset.shape, x.shape[1]
        kernel = self.weight.permute(0, 2, 3, 1).flatten(1)  # taps, then channels
        out = F.linear(taps.view(n, h * w, -1, channels).flatten(2), kernel, self.bias)
        return out.transpose(1, 2).unflatten(2, (h, w))

    def _taps(self, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns (N, H, W, taps) of the input where the output takes its samples."""
        n, _, h, w = offset.shape
        offset = offset.view(n, -1, 2, h, w).permute(2, 0, 3, 4, 1)
        (kh, kw), (sy, sx), (py, px) = self.kernel_size, self.stride, self.padding
        dy, dx = self.dilation
        ky, kx = torch.meshgrid(torch.arange(kh) * dy, torch.arange(kw) * dx, indexing="ij")
        rows = torch.arange(h)[:, None, None] * sy - py + ky.flatten()
        columns = torch.arange(w)[:, None] * sx - px + kx.flatten()
        return offset[0] + rows, offset[1] + columns


def _corners(x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """The four pixels around each place, and their bilinear weights: (places, 4) each.

    Pixels are rows of the table of ``x`` with a border of zeros one pixel wide, which stands for
    everything outside.
    """
    h, w = x.shape[2] + 2, x.shape[3] + 2
    top, left = rows.floor(), columns.floor()
    down, right = rows - top, columns - left
    first = torch.arange(len(x), dtype=torch.int32)[:, None, None, None] * (h * w)
    # A place that is not finite becomes some pixel; its weight is not finite, either.
    ys = [(top.int() + i).clamp(0, h - 1) * w + first for i in (1, 2)]
    xs = [(left.int() + i).clamp(0, w - 1) for i in (1, 2)]
    pixels = torch.stack([y + x for y in ys for x in xs], dim=-1)
    weights = torch.stack([y * x for y in (1 - down, down) for x in (1 - right, right)], dim=-1)
    return pixels.view(-1, 4), weights.view(-1, 4)
