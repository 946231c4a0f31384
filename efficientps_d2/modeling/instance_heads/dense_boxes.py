"""A box at each pixel, without proposals and anchors."""

import math

import torch
from detectron2.config import configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.structures import Instances
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from efficientps_d2.modeling.layers import SeparableConv2d
from efficientps_d2.modeling.semantic_heads.base import STRIDE, resized_to
from efficientps_d2_runtime.errors import InputError

FIRST_SIDE = 64  # pixels of the boxes before training
LARGEST = 1e4  # pixels from a centre to a side
NOBODY = -1


class DenseBoxHead(nn.Module):
    """Predicts, at stride 4, the distances to the sides of a box and how central a pixel is.

    The features are added at the size of the finest one; a tower of separable convolutions follows.
    """

    @configurable
    def __init__(
        self, input_shape: dict[str, ShapeSpec], *, num_convs: int, conv_dim: int, norm: str
    ):
        """
        Args:
            input_shape: shapes of the features, equally wide, the finest at stride 4.
            num_convs, conv_dim, norm: of the tower.

        Raises:
            InputError: if no feature has stride 4.
        """
        super().__init__()
        shapes = sorted(input_shape.items(), key=lambda item: item[1].stride)
        if shapes[0][1].stride != STRIDE:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.IN_FEATURES gives {[name for name, _ in shapes]}; LPSNetStyle "
                f"needs one at stride {STRIDE}, such as p2."
            )
        self.in_features = [name for name, _ in shapes]
        channels = [shapes[0][1].channels, *[conv_dim] * num_convs]
        self.tower = nn.Sequential(
            *(
                SeparableConv2d(i, o, norm=norm)
                for i, o in zip(channels, channels[1:], strict=False)
            )
        )
        self.distances = Conv2d(channels[-1], 4, kernel_size=3, padding=1)
        self.centerness = Conv2d(channels[-1], 1, kernel_size=3, padding=1)
        for conv in (self.distances, self.centerness):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)
        nn.init.constant_(self.distances.bias, math.log(FIRST_SIDE / 2 / STRIDE))

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]):
        options = cfg.MODEL.LPSNET
        names = cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES
        return {
            "input_shape": {name: input_shape[name] for name in names},
            "num_convs": options.NUM_CONVS,
            "conv_dim": options.CONV_DIM,
            "norm": options.NORM,
        }

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """FPN features to boxes (N, 4, h, w) in pixels, x0 y0 x1 y1, and logits (N, h, w)."""
        finest, *others = (features[name] for name in self.in_features)
        x = self.tower(sum((resized_to(other, finest) for other in others), finest))
        exponent = self.distances(x).float().clamp(max=math.log(LARGEST / STRIDE))
        left, top, right, bottom = (STRIDE * exponent.exp()).unbind(dim=1)
        ys, xs = cell_centers(*x.shape[-2:], device=x.device)
        boxes = torch.stack([xs - left, ys - top, xs + right, ys + bottom], dim=1)
        return boxes, self.centerness(x)[:, 0].float()


def cell_centers(height: int, width: int, device) -> tuple[Tensor, Tensor]:
    """(height, 1) rows and (width,) columns of the centres of cells, in pixels."""
    ys = (torch.arange(height, device=device) + 0.5) * STRIDE
    xs = (torch.arange(width, device=device) + 0.5) * STRIDE
    return ys[:, None], xs


def dense_box_losses(
    boxes: Tensor, centerness: Tensor, owners: list[Tensor], instances: list[Instances]
) -> dict[str, Tensor]:
    """GIoU loss of the boxes and cross-entropy of the centerness, in the pixels of instances.

    Each instance counts the same, whatever its size.

    Args:
        boxes, centerness: of :meth:`DenseBoxHead.forward`.
        owners: for each image an int64 map, no larger than (h, w), of the index of the instance
            that a cell belongs to, or ``NOBODY``.
        instances: ``gt_boxes`` of each image.

    Returns:
        ``loss_box_reg`` and ``loss_centerness``.
    """
    box_loss, center_loss, count = boxes.sum() * 0.0, centerness.sum() * 0.0, 0
    for found, central, owner, targets in zip(boxes, centerness, owners, instances, strict=True):
        rows, columns = (owner != NOBODY).nonzero(as_tuple=True)
        owner = owner[rows, columns]
        true = targets.gt_boxes.tensor[owner]
        areas = torch.bincount(owner, minlength=len(targets))
        weight = 1 / areas[owner]
        ys, xs = (side.flatten() for side in cell_centers(*found.shape[-2:], device=found.device))
        target = true_centerness(true, xs[columns], ys[rows])
        box_loss = (
            box_loss + (weight * generalized_box_iou_loss(found[:, rows, columns].T, true)).sum()
        )
        losses = F.binary_cross_entropy_with_logits(
            central[rows, columns], target, reduction="none"
        )
        center_loss = center_loss + (weight * losses).sum()
        count += int((areas > 0).sum())
    return {
        "loss_box_reg": box_loss / max(count, 1),
        "loss_centerness": center_loss / max(count, 1),
    }


def true_centerness(boxes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(N,) how central points are in (N, 4) boxes, from 0 to 1 (Tian et al., ICCV 2019, eq. 3)."""
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    across = torch.stack([x - x0, x1 - x]).clamp(min=0)
    down = torch.stack([y - y0, y1 - y]).clamp(min=0)
    ratio = across.amin(dim=0) / across.amax(dim=0).clamp(min=1e-6)
    ratio = ratio * down.amin(dim=0) / down.amax(dim=0).clamp(min=1e-6)
    return ratio.clamp(0, 1).sqrt()
