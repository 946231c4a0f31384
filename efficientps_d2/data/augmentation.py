"""How images and ground truth are resized and changed at random before the network sees them."""

from collections.abc import Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.projects.point_rend import ColorAugSSDTransform
from fvcore.transforms.transform import NoOpTransform, Transform

from efficientps_d2.data.bands import BANDS
from efficientps_d2.data.lidar.projection import BANDS as BANDS_OF_SCANS
from efficientps_d2.utils.resizing import ResizeTransform

X, Y = BANDS_OF_SCANS.index("x"), BANDS_OF_SCANS.index("y")
CONTRAST, BRIGHTNESS = (0.7, 1.3), 0.3  # a factor, and a share of the standard deviation


class ResizeWithJitter(T.ResizeShortestEdge):
    """Detectron2's resize of the shortest edge, times a random factor; one interpolation only."""

    def __init__(self, *args, jitter: tuple[float, float] = (1.0, 1.0), **kwargs):
        super().__init__(*args, **kwargs)
        self.jitter = jitter

    def get_transform(self, image):
        resize = super().get_transform(image)
        height, width = image.shape[:2]
        if isinstance(resize, T.ResizeTransform):  # otherwise MIN_SIZE_TRAIN is 0: native size
            height, width = resize.new_h, resize.new_w
        scale = self._rand_range(*self.jitter)
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        if (height, width) == image.shape[:2]:
            return NoOpTransform()
        return ResizeTransform(*image.shape[:2], height, width, self.interp)


class BandJitter(T.Augmentation):
    """Random contrast and brightness of images of any number of bands, the same for all bands."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.mean, self.std = np.float32(mean), np.float32(std)

    def get_transform(self, image):
        factor = np.float32(self._rand_range(*CONTRAST))
        shift = self.std * np.float32(self._rand_range(-BRIGHTNESS, BRIGHTNESS))
        return _Linear(factor, self.mean * (1 - factor) + shift)


class _Linear(Transform):
    """``image * factor + shift``; the ground truth stays."""

    def __init__(self, factor: np.float32, shift: np.ndarray):
        super().__init__()
        self.factor, self.shift = factor, shift

    def apply_image(self, img):
        return img * self.factor + self.shift

    def apply_segmentation(self, segmentation):
        return segmentation

    def apply_coords(self, coords):
        return coords


class TurnScan(T.Augmentation):
    """Turn a range image about the scanner by a random angle, and mirror every second one.

    The coordinates in it turn, too: what comes out is what the scanner would have seen.
    """

    def get_transform(self, image):
        return _Turned(int(self._rand_range(image.shape[1])), self._rand_range() < 0.5)


class _Turned(Transform):
    """Turned by so many columns, then mirrored left and right if asked for."""

    def __init__(self, columns: int, mirrored: bool):
        super().__init__()
        self.columns, self.mirrored = columns, mirrored

    def apply_image(self, img):
        angle = np.float32(2 * np.pi * self.columns / img.shape[1])
        cos, sin = np.cos(angle), np.sin(angle)
        img = img.copy()
        x, y = img[:, :, X].copy(), img[:, :, Y].copy()
        # Columns count clockwise from behind the scanner.
        img[:, :, X], img[:, :, Y] = x * cos + y * sin, y * cos - x * sin
        img = self.apply_segmentation(img)
        if self.mirrored:
            img[:, :, Y] *= -1
        return img

    def apply_segmentation(self, segmentation):
        turned = np.roll(segmentation, self.columns, axis=1)
        return np.ascontiguousarray(turned[:, ::-1]) if self.mirrored else turned

    def apply_coords(self, coords):
        raise NotImplementedError("boxes come from turned masks")


def build_train_augmentations(cfg: CfgNode) -> list[T.Augmentation | T.Transform]:
    """Resize, crop and flip by Detectron2's INPUT keys, with SCALE_JITTER and COLOR_JITTER.

    With TURN_SCANS, range images are turned first.
    """
    augmentations = [TurnScan()] if cfg.INPUT.TURN_SCANS else []
    augmentations.append(
        ResizeWithJitter(
            cfg.INPUT.MIN_SIZE_TRAIN,
            cfg.INPUT.MAX_SIZE_TRAIN,
            cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING,
            jitter=tuple(cfg.INPUT.SCALE_JITTER),
        )
    )
    if cfg.INPUT.CROP.ENABLED:
        augmentations.append(T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
    if cfg.INPUT.RANDOM_FLIP != "none":
        vertical = cfg.INPUT.RANDOM_FLIP == "vertical"
        augmentations.append(T.RandomFlip(horizontal=not vertical, vertical=vertical))
    if cfg.INPUT.COLOR_JITTER and cfg.INPUT.FORMAT == BANDS:
        augmentations.append(BandJitter(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD))
    elif cfg.INPUT.COLOR_JITTER:
        augmentations.append(ColorAugSSDTransform(img_format=cfg.INPUT.FORMAT))
    return augmentations


def build_test_augmentations(cfg: CfgNode) -> list[T.Augmentation]:
    """The resize of an evaluation."""
    size = cfg.INPUT.MIN_SIZE_TEST
    return [ResizeWithJitter([size, size], cfg.INPUT.MAX_SIZE_TEST, "choice")]
