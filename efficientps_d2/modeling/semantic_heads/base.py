"""What the semantic heads of this project share: loss, resizing and config keys."""

from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from efficientps_d2.modeling.losses import hard_pixel_cross_entropy
from efficientps_d2_runtime.errors import InputError

STRIDE = 4  # of the finest feature, at which heads give logits


class SemanticHead(nn.Module):
    """Predicts every class, stuff and things, in the order of the contiguous ids.

    A head has :meth:`layers`. As Detectron2's ``SemSegFPNHead`` it can be called, or asked for
    ``layers`` and ``losses`` one after the other.
    """

    common_stride = STRIDE  # as SemSegFPNHead calls it

    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        loss_weight: float = 1.0,
        ignore_value: int = 255,
        hard_pixel_fraction: float = 0.25,
        hard_pixels_per: str = "image",
    ):
        """
        Args:
            input_shape: shapes of the four features, at strides 4, 8, 16 and 32.
            loss_weight: factor of ``loss_sem_seg``.
            ignore_value: label of pixels without ground truth.
            hard_pixel_fraction, hard_pixels_per: see :func:`hard_pixel_cross_entropy`.

        Raises:
            InputError: for features at other strides.
        """
        super().__init__()
        shapes = sorted(input_shape.items(), key=lambda item: item[1].stride)
        if [shape.stride for _, shape in shapes] != [4, 8, 16, 32]:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.IN_FEATURES gives {[name for name, _ in shapes]}; this head "
                "needs the four features at strides 4, 8, 16 and 32."
            )
        self.in_features = [name for name, _ in shapes]
        self.in_channels = [shape.channels for _, shape in shapes]
        self.ignore_value = ignore_value
        self.loss_weight = loss_weight
        self.hard_pixel_fraction = hard_pixel_fraction
        self.hard_pixels_per = hard_pixels_per

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]):
        """The arguments above, and ``num_classes`` and ``conv_dims``."""
        head = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": {k: v for k, v in input_shape.items() if k in head.IN_FEATURES},
            "num_classes": head.NUM_CLASSES,
            "conv_dims": head.CONVS_DIM,
            "loss_weight": head.LOSS_WEIGHT,
            "ignore_value": head.IGNORE_VALUE,
            "hard_pixel_fraction": head.HARD_PIXEL_FRACTION,
            "hard_pixels_per": head.HARD_PIXELS_PER,
        }

    def forward(self, features: dict[str, Tensor], targets: Tensor | None = None):
        """
        Args:
            features: FPN features by name.
            targets: (N, H, W) int64 labels at the size of the padded images, in training.

        Returns:
            In training ``(None, {"loss_sem_seg": scalar})``; in inference ``(logits, {})`` with
            float32 logits (N, num_classes, H, W) at the size of the padded images.
        """
        logits = self.layers(features)
        if self.training:
            return None, self.losses(logits, targets)
        return self._enlarged(logits), {}

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Logits (N, num_classes, H / 4, W / 4) from FPN features by name."""
        raise NotImplementedError

    def losses(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss_sem_seg`` of what :meth:`layers` gave; targets as for :meth:`forward`."""
        loss = hard_pixel_cross_entropy(
            self._enlarged(logits),
            targets,
            fraction=self.hard_pixel_fraction,
            per=self.hard_pixels_per,
            ignore_value=self.ignore_value,
        )
        return {"loss_sem_seg": loss * self.loss_weight}

    def _enlarged(self, logits: Tensor) -> Tensor:
        return F.interpolate(
            logits.float(), scale_factor=STRIDE, mode="bilinear", align_corners=False
        )


def every_fourth(labels: Tensor) -> Tensor:
    """(..., H, W) ground truth at the logits of stride 4."""
    return labels[..., STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def resized_to(x: Tensor, target: Tensor) -> Tensor:
    """(N, C, H, W) at the height and width of ``target``, bilinear."""
    return F.interpolate(x, size=target.shape[-2:], mode="bilinear", align_corners=False)
