"""Semantic logits at the size of the output, of which only a few rows are in memory."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP = 64  # rows
SMALL = 2**22  # values, 16 MB


class SemanticLogits:
    """(K, H, W) float32 logits: a tensor, or the bilinear enlargement of a smaller one.

    Parts of the enlargement are those of the whole, up to rounding: PyTorch computes narrow ones in
    another order.
    """

    def __init__(self, source: Tensor, size: tuple[int, int] | None = None, stride: int = 1):
        """
        Args:
            source: (K, h, w) logits of any type.
            size: height and width, at most ``stride`` times those of the source; all by default.
            stride: a power of two; 1 for logits that have their size already.
        """
        self.source = source if stride > 1 else source.float()
        height, width = (side * stride for side in source.shape[1:])
        self.size, self.stride = size or (height, width), stride

    @classmethod
    def of(cls, logits: "Tensor | SemanticLogits") -> "SemanticLogits":
        """As they are, if they are no tensor."""
        return logits if isinstance(logits, cls) else cls(logits)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.source), *self.size)

    @property
    def device(self) -> torch.device:
        return self.source.device

    def __len__(self) -> int:
        """The number of classes."""
        return len(self.source)

    def crop(self, rows: slice, columns: slice, channel: int | None = None) -> Tensor:
        """The logits of some pixels: (K, rows, columns), or (rows, columns) of one channel."""
        if channel is not None:
            return SemanticLogits(self.source[channel, None], self.size, self.stride).crop(
                rows, columns
            )[0]
        source = self.source
        if self.stride == 1:
            return source[:, rows, columns]
        (rows, near_rows), (columns, near_columns) = (
            _neighbours(part, side, self.stride)
            for part, side in zip((rows, columns), source.shape[1:], strict=True)
        )
        near = source[None, :, near_rows, near_columns].float()
        if 0 in near.shape:
            return near.new_zeros(len(source), rows.stop - rows.start, columns.stop - columns.start)
        large = F.interpolate(near, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return large[0, :, rows, columns]

    def strips(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows, and the logits (K, rows, W) in them."""
        height, width = self.size
        for top in range(0, height, STRIP):
            rows = slice(top, min(top + STRIP, height))
            yield rows, self.crop(rows, slice(0, width))

    def full(self) -> Tensor:
        """(K, H, W), all in memory."""
        return self.crop(slice(0, self.size[0]), slice(0, self.size[1]))

    def enlarged_if_small(self) -> "SemanticLogits":
        """All in memory if they are few, for then that is faster than to enlarge each part."""
        return SemanticLogits(self.full()) if math.prod(self.shape) <= SMALL else self

    def argmax(self, dim: int = 0) -> Tensor:
        """(H, W) int64 class of each pixel, as of a tensor; the first of those that are equal."""
        if dim != 0:
            raise ValueError(f"classes are in dimension 0, not {dim}")
        # Four times as fast as Tensor.argmax.
        return torch.cat([logits.max(dim=0).indices for _, logits in self.strips()])

    def labels_and_stuff(
        self, stuff_class_ids: Sequence[int], join: Callable[..., Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(H, W) int64 class of each pixel, and (H, W) float32 logits of stuff as one.

        Args:
            stuff_class_ids: channels of stuff; of none the second is minus infinity.
            join: makes one logit of two, such as ``torch.maximum``; takes ``out``.
        """
        labels = torch.empty(self.size, dtype=torch.int64, device=self.device)
        stuff = torch.full(self.size, -torch.inf, device=self.device)
        for rows, strip in self.strips():
            labels[rows] = strip.max(dim=0).indices
            for channel in stuff_class_ids:  # without copying them together
                join(stuff[rows], strip[channel], out=stuff[rows])
        return labels, stuff


class ResizedLogits(SemanticLogits):
    """Logits whose enlargement is resized once more, to any size, as by ``sem_seg_postprocess``."""

    def __init__(self, logits: SemanticLogits, size: tuple[int, int]):
        """
        Args:
            logits: at the size of the network's input.
            size: height and width of the output.
        """
        super().__init__(logits.source, size, logits.stride)
        self.logits = logits

    def crop(self, rows: slice, columns: slice, channel: int | None = None) -> Tensor:
        near_rows, row_pairs, row_shares = self._axis(rows, 0)
        near_columns, column_pairs, column_shares = self._axis(columns, 1)
        near = self.logits.crop(near_rows, near_columns, channel)
        above, below = (near[..., pair, :] for pair in row_pairs)
        near = torch.lerp(above, below, row_shares[:, None])
        left, right = (near[..., pair] for pair in column_pairs)
        return torch.lerp(left, right, column_shares)

    def _axis(self, part: slice, axis: int) -> tuple[slice, tuple[Tensor, Tensor], Tensor]:
        """What a part of an axis lies between: a part of the logits, and in it two indices for each
        place, and the share of the second one.
        """
        length = self.logits.size[axis]
        places = torch.arange(part.start, part.stop, device=self.device) + 0.5
        places = (places * (length / self.size[axis]) - 0.5).clamp(min=0)
        low = places.long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        if not len(places):
            return slice(0, 0), (low, high), places
        first = int(low[0])
        near = slice(first, int(high[-1]) + 1)
        return near, (low - first, high - first), places - low


def _neighbours(part: slice, side: int, stride: int) -> tuple[slice, slice]:
    """Where ``part`` lies in the enlargement of the cells that it depends on, and these cells."""
    first = max(part.start // stride - 1, 0)
    end = min(-(-part.stop // stride) + 1, side)
    return slice(part.start - first * stride, part.stop - first * stride), slice(first, end)
