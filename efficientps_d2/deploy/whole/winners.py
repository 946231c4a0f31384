"""Which instance has a pixel: a loop over the instances, and one over tiles of the image.

The first, by descending score, finds which instances have room. Those compete in the second: a tile
is small, so that all that its few instances say of its pixels is compared at once.
"""

from onnxscript import BOOL, INT64, OnnxFunction, script
from onnxscript import opset18 as op

from efficientps_d2.deploy.whole.constants import BOOL as BOOLEAN
from efficientps_d2.deploy.whole.constants import FLOAT, INT32
from efficientps_d2.deploy.whole.fusion_rules import RULES

TILE = 128  # pixels of a side


def room_loop(method: str) -> OnnxFunction:
    """The loop over the instances; a file needs the ``HELPERS`` that it calls, too.

    Of N instances, by descending score, it takes boxes (N, 4), masks (N, M, M), channels (N,) and
    windows (N, 4): first row and column, and those after the last. ``sem_seg`` (K, H, W) are
    semantic logits, ``stuff`` (H, W) those of stuff.
    """
    mask_of = RULES[method].mask

    @script(default_opset=op)
    def with_room(
        boxes, masks, channels, windows, sem_seg, stuff, overlap_threshold, knobs
    ) -> BOOL[...]:
        """(N,): whether a mask is not empty and not too much of it is occupied by better ones."""
        size = op.Shape(stuff)
        no = op.Less(op.Constant(value_int=1), op.Constant(value_int=0))
        nothing = op.Constant(value_float=0.0)
        occupied = op.Expand(no, size)
        found = op.Expand(no, op.Constant(value_ints=[0]))
        count = op.Gather(op.Shape(boxes), 0)
        for i in range(count):
            one = op.Reshape(i, [1])
            first, last = op.Split(op.Gather(windows, i), axis=0, num_outputs=2)
            box, cells = op.Gather(boxes, one), op.Gather(masks, one)
            channel = op.Gather(channels, one)
            mask = mask_of(box, cells, channel, sem_seg, stuff, first, last, knobs)
            mask = op.Squeeze(mask, [0])
            taken = op.And(mask, op.Slice(occupied, first, last))
            area = op.ReduceSum(op.Cast(mask, to=FLOAT), keepdims=0)
            covered = op.ReduceSum(op.Cast(taken, to=FLOAT), keepdims=0)
            has_room = op.LessOrEqual(covered, overlap_threshold * area)
            fits = op.And(op.Greater(area, nothing), has_room)
            found = op.Concat(found, op.Reshape(fits, [1]), axis=0)
            margins = op.Concat(first, size - last, axis=0)
            occupied = op.Or(occupied, op.Pad(op.And(mask, fits), margins, no))
        return found

    return with_room


def tile_loop(method: str) -> OnnxFunction:
    """The loop over the tiles, which takes the same as :func:`room_loop`, and more."""
    levels_of = RULES[method].levels

    @script(default_opset=op)
    def winners(
        boxes, masks, channels, windows, reaches, numbers, sem_seg, stuff, knobs
    ) -> INT64[...]:
        """(H, W): the number of the instance that has a pixel; 0 for none.

        Args:
            reaches: (N, 4) windows in which instances compete.
            numbers: (N,) of those that compete, from 1; 0 of the others.
        """
        size, side = op.Shape(stuff), op.Constant(value_ints=[TILE])
        one, none = op.Constant(value_ints=[1]), op.Constant(value_ints=[0])
        nobody = op.Constant(value_int=0)
        starts, ends = op.Split(reaches, axis=1, num_outputs=2)
        tiles = (size + side - one) / side
        tile_rows, tile_columns = op.Gather(tiles, 0), op.Gather(tiles, 1)
        found = op.Expand(nobody, op.Concat(none, op.Gather(size, one), axis=0))
        for row in range(tile_rows):
            top = row * side
            bottom = op.Min(top + side, op.Gather(size, none))
            strip = op.Expand(nobody, op.Concat(bottom - top, none, axis=0))
            for column in range(tile_columns):
                first = op.Concat(top, column * side, axis=0)
                last = op.Min(first + side, size)
                outside = op.Or(op.GreaterOrEqual(starts, last), op.LessOrEqual(ends, first))
                outside = op.ReduceMax(op.Cast(outside, to=INT32), [1], keepdims=0)
                here = op.And(op.Greater(numbers, none), op.Not(op.Cast(outside, to=BOOLEAN)))
                chosen = op.Reshape(op.NonZero(here), [-1])
                levels = levels_of(
                    op.Gather(boxes, chosen),
                    op.Gather(masks, chosen),
                    op.Gather(channels, chosen),
                    op.Gather(windows, chosen),
                    sem_seg,
                    stuff,
                    first,
                    last,
                    knobs,
                )
                names = op.Concat(none, op.Gather(numbers, chosen), axis=0)
                tile = op.Gather(names, op.ArgMax(levels, axis=0, keepdims=0))
                strip = op.Concat(strip, tile, axis=1)
            found = op.Concat(found, strip, axis=0)
        return found

    return winners
